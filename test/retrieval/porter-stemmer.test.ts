import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stem } from '../../src/retrieval/porter-stemmer.js';

/** The examples in M. F. Porter, "An algorithm for suffix stripping" (1980), put through all its steps. */
const EXAMPLES = `
  caresses caress, ponies poni, ties ti, caress caress, cats cat, feed feed, agreed agre, plastered plaster, bled bled,
  motoring motor, sing sing, conflated conflat, troubled troubl, sized size, hopping hop, tanned tan, falling fall,
  hissing hiss, fizzed fizz, failing fail, filing file, happy happi, sky sky, relational relat, conditional condit,
  rational ration, valenci valenc, hesitanci hesit, digitizer digit, conformabli conform, radicalli radic,
  differentli differ, vileli vile, analogousli analog, vietnamization vietnam, predication predic, operator oper,
  feudalism feudal, decisiveness decis, hopefulness hope, callousness callous, formaliti formal, sensitiviti sensit,
  sensibiliti sensibl, triplicate triplic, formative form, formalize formal, electriciti electr, electrical electr,
  hopeful hope, goodness good, revival reviv, allowance allow, inference infer, airliner airlin, gyroscopic gyroscop,
  adjustable adjust, defensible defens, irritant irrit, replacement replac, adjustment adjust, dependent depend,
  adoption adopt, homologou homolog, communism commun, activate activ, angulariti angular, homologous homolog,
  effective effect, bowdlerize bowdler, probate probat, rate rate, cease ceas, controll control, roll roll,
  generalizations gener, oscillators oscil`;

test.each(EXAMPLES.split(',').map((pair) => pair.trim()))('%s', (pair) => {
  const [word = '', expected] = pair.split(' ');
  expect(stem(word)).toBe(expected);
});

test('short words, other alphabets and words with digits stay as they are', () => {
  for (const word of ['as', 'is', 'größes', 'b12s', 'данные']) expect(stem(word)).toBe(word);
});

test('a stem is never longer than its word and never empty', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z]{1,14}$/), (word) => {
      const length = stem(word).length;
      expect(length).toBeGreaterThan(0);
      expect(length).toBeLessThanOrEqual(word.length);
    }),
  );
});
