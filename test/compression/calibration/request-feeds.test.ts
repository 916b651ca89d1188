import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DataType } from '../../../src/core/index.js';
import { requestFeeds } from '../../../src/compression/index.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';

type Input = readonly [name: string, dtype: DataType, dims: readonly (number | string)[]];

function modelOf(...inputs: readonly Input[]): Model {
  const builder = new GraphBuilder();
  for (const input of inputs) builder.input(...input);
  return builder.build();
}

const RANKER = modelOf(
  ['user', 'float32', ['n', 2]],
  ['history', 'int64', ['n', 'length']],
  ['item', 'int32', ['n']],
);

describe('inputs with one dynamic first dimension', () => {
  it('are stacked', () => {
    const columns = {
      item: [3, 4],
      history: [
        [1n, 2n],
        [3, 4],
      ],
      user: [
        [0.5, 1],
        [2, -3],
      ],
    };
    expect(requestFeeds(RANKER, columns, 'rows')).toEqual([
      {
        user: { dtype: 'float32', dims: [2, 2], data: Float32Array.of(0.5, 1, 2, -3) },
        history: { dtype: 'int64', dims: [2, 2], data: BigInt64Array.of(1n, 2n, 3n, 4n) },
        item: { dtype: 'int32', dims: [2], data: Int32Array.of(3, 4) },
      },
    ]);
  });

  it('take texts that hold JSON, and a leading 1', () => {
    const columns = { item: ['3'], history: ['[[1, 2]]'], user: ['[0.5, 1]'] };
    expect(requestFeeds(RANKER, columns, 'rows')).toEqual(
      requestFeeds(RANKER, { item: [3], history: [[1, 2]], user: [[[0.5, 1]]] }, 'rows'),
    );
  });

  it('put rows of equal shapes together, at most 64 a feed, and lose none', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 200 }), (lengths) => {
        const columns = {
          user: lengths.map(() => [0, 0]),
          history: lengths.map((length, row) => Array.from({ length }, () => row)),
          item: lengths.map((_, row) => row),
        };
        const feeds = requestFeeds(RANKER, columns, 'rows');
        const items = feeds.map((feed) => Array.from(feed['item']?.data ?? [], Number));
        expect(items.every((rows) => rows.length <= 64)).toBe(true);
        expect(items.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, row) => row));
        for (const [at, rows] of items.entries()) {
          const [length = 0] = rows.map((row) => lengths[row] ?? NaN);
          expect(rows.every((row) => lengths[row] === length)).toBe(true);
          expect(feeds[at]?.['history']?.dims).toEqual([rows.length, length]);
          const history = Array.from(feeds[at]?.['history']?.data ?? [], Number);
          expect(history).toEqual(rows.flatMap((row) => Array.from({ length }, () => row)));
        }
        expect(feeds.length).toBeLessThanOrEqual(4 + lengths.length / 64);
      }),
    );
  });
});

describe('other inputs', () => {
  it('make a feed of each row, whose cells are whole tensors', () => {
    const model = modelOf(['x', 'float32', ['n', 2]], ['rate', 'int64', []], ['flag', 'bool', [1]]);
    const columns = {
      x: [
        [1, 2],
        [
          [3, 4],
          [5, 6],
        ],
      ],
      rate: [8, 9],
      flag: [true, 0],
    };
    expect(
      requestFeeds(model, columns, 'rows').map((feed) =>
        Object.values(feed).map(({ dims, data }) => [dims, data]),
      ),
    ).toEqual([
      [
        [[1, 2], Float32Array.of(1, 2)],
        [[], BigInt64Array.of(8n)],
        [[1], Uint8Array.of(1)],
      ],
      [
        [[2, 2], Float32Array.of(3, 4, 5, 6)],
        [[], BigInt64Array.of(9n)],
        [[1], Uint8Array.of(0)],
      ],
    ]);
  });

  it('so do first dimensions of different names', () => {
    const model = modelOf(['user', 'float32', ['requests', 1]], ['item', 'int64', ['candidates']]);
    const feeds = requestFeeds(model, { user: [0.5, 1], item: [[1, 2, 3], [4]] }, 'rows');
    expect(feeds.map((feed) => [feed['user']?.dims, feed['item']?.dims])).toEqual([
      [[1, 1], [3]],
      [[1, 1], [1]],
    ]);
  });
});

describe('what does not match', () => {
  const good = { user: [[1, 2]], history: [[1]], item: [1] };
  it.each<readonly [string, Record<string, readonly unknown[]>, RegExp]>([
    [
      'a missing column',
      { user: good.user, item: good.item },
      /no column for history\. Inputs: user, history, item\. Columns: user, item/,
    ],
    ['a name with a slip', { ...good, histroy: [1], history: [] }, /no input for histroy\. Inputs/],
    [
      'a slip where a column is missing',
      { user: good.user, item: [1], histroy: [[1]] },
      /no column for history; no input for histroy \(did you mean history\?\)/,
    ],
    ['a null', { ...good, item: [null] }, /row 1, column item: it is null; allowed: whole numbers/],
    ['a null in a list', { ...good, user: [[1, null]] }, /column user: it is null/],
    ['a text', { ...good, item: ['first'] }, /column item: "first" is not int32/],
    ['a fraction', { ...good, history: [[1.5]] }, /column history: 1\.5 is not int64/],
    [
      'a number that is too large',
      { ...good, item: [2 ** 31] },
      /2147483648 is not int32; .* -2147483648 to 2147483647/,
    ],
    [
      'an infinite number',
      { ...good, user: [[1, Infinity]] },
      /Infinity is not float32; allowed: finite numbers of shape \[2\]/,
    ],
    [
      'another width',
      { ...good, user: [[1, 2, 3]] },
      /its shape is \[3\]; allowed: finite numbers of shape \[2\]/,
    ],
    ['too many dimensions', { ...good, item: [[1, 2]] }, /its shape is \[2\]; .* of shape \[\]/],
    ['lists of different lengths', { ...good, history: [[[1, 2], [3]]] }, /its lists have different lengths/],
  ])('%s', (_, columns, message) => {
    expect(() => requestFeeds(RANKER, columns, 'rows.csv')).toThrow(message);
    expect(() => requestFeeds(RANKER, columns, 'rows.csv')).toThrow(
      expect.objectContaining({ code: 'DATASET_INVALID' }),
    );
  });

  it('a type that no table holds', () => {
    expect(() => requestFeeds(modelOf(['x', 'float16', ['n']]), { x: [1] }, 'rows')).toThrow(
      'Input x (float16) cannot be filled',
    );
  });
});
