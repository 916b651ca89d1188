import { InvalidArgumentError } from 'commander';
import { expect, test } from 'vitest';
import { parseCount, parseNumber, parseWholeNumber } from '../../src/cli/options.js';
import { defaultEpochs } from '../../src/cli/train.js';

test.each([
  [parseWholeNumber, ['0', '7', '9007199254740991'], ['-1', '1.5', 'x', '1e400', '9007199254740992']],
  [parseCount, ['1', '12'], ['0', '-1', '0.5', '']],
  [parseNumber, ['0', '0.25', '1e3'], ['-0.1', '', ' ', 'x', 'Infinity']],
] as const)('%o takes and refuses', (parse, taken, refused) => {
  for (const text of taken) expect(parse(text)).toBe(Number(text));
  for (const text of refused) expect(() => parse(text)).toThrow(InvalidArgumentError);
});

test('small data is passed more often than large data, within bounds', () => {
  const epochs = [1, 100, 10_000, 300_000, 1_000_000, 100_000_000].map(defaultEpochs);
  expect(epochs).toEqual(epochs.toSorted((a, b) => b - a));
  expect(epochs[0]).toBeGreaterThan(epochs.at(-1) ?? NaN);
  expect(epochs.every((count) => Number.isInteger(count) && count >= 1)).toBe(true);
});
