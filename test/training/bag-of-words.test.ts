import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { float32, float32Data, must } from '../../src/core/index.js';
import { encodeModel, GraphBuilder } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { bagOfWords, multiply } from '../../src/training/bag-of-words.js';

describe('the bag of words', () => {
  test('takes the words most items have, each item counting once; ties in alphabetical order', () => {
    const texts = [
      'Red lamp lamp lamp',
      'red LAMP, blue',
      'blue-red x',
      'chair',
      'Éclair éclair',
      'E\u0301clair',
    ];
    expect(bagOfWords(texts, 10).words).toEqual(['red', 'blue', 'lamp', 'éclair']);
    expect(bagOfWords(texts, 2).words).toEqual(['red', 'blue']);
  });

  test('rows have length 1, in item order behind the padding row; items without known words are zero', () => {
    const { words, matrix } = bagOfWords(['red lamp', 'chair', 'lamp red blue', 'blue red'], 10);
    expect(words).toEqual(['red', 'blue', 'lamp']);
    const rows = Array.from({ length: 5 }, (_, row) => [...matrix.slice(row * 3, row * 3 + 3)]);
    const [half, third] = [Math.fround(1 / Math.sqrt(2)), Math.fround(1 / Math.sqrt(3))];
    expect(rows).toEqual([
      [0, 0, 0],
      [half, 0, half],
      [0, 0, 0],
      [third, third, third],
      [half, half, 0],
    ]);
  });

  test('no words at all give an empty matrix', () => {
    expect(bagOfWords(['a', 'b'], 10)).toEqual({ words: [], matrix: new Float32Array() });
  });
});

test('a product over nothing is all zero', () => {
  expect(multiply(new Float32Array(), new Float32Array(), 3, 2)).toEqual(new Float32Array(6));
});

test('the product is that of MatMul', async () => {
  const sizes = fc.record({
    rows: fc.integer({ min: 1, max: 5 }),
    inner: fc.integer({ min: 1, max: 6 }),
    columns: fc.integer({ min: 1, max: 4 }),
  });
  const element = fc.oneof(fc.constant(0), fc.float({ min: -4, max: 4, noNaN: true }));
  const builder = new GraphBuilder();
  const [left, right] = ['left', 'right'].map((name) =>
    builder.input(name, 'float32', [`${name}0`, `${name}1`]),
  );
  builder.node('MatMul', [must(left, 'left'), must(right, 'right')], {}, ['product']);
  builder.output('product', 'float32', ['rows', 'columns']);
  const session = await openSession(encodeModel(builder.build()));
  await fc.assert(
    fc.asyncProperty(sizes, fc.infiniteStream(element), async ({ rows, inner, columns }, stream) => {
      const take = (count: number): Float32Array =>
        Float32Array.from({ length: count }, () => Number(stream.next().value));
      const [a, b] = [take(rows * inner), take(inner * columns)];
      const { product } = await session.run({
        left: float32(a, [rows, inner]),
        right: float32(b, [inner, columns]),
      });
      const expected = float32Data(must(product, 'product'));
      const found = multiply(a, b, rows, columns);
      expect(found).toHaveLength(expected.length);
      found.forEach((value, at) => expect(value).toBeCloseTo(must(expected[at], 'element'), 4));
    }),
  );
  await session.release();
});
