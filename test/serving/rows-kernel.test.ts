import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fillRows, writeRows } from '../../src/serving/rows-kernel.js';

const row = fc.integer({ min: -(2 ** 30), max: 2 ** 30 });

test.each([Float64Array, Int32Array, BigInt64Array])(
  '%o holds the rows, shifted, and nothing else',
  (Values) => {
    fc.assert(
      fc.property(
        fc.array(row),
        fc.nat(5),
        fc.nat(5),
        fc.integer({ min: -9, max: 9 }),
        (rows, at, skip, offset) => {
          const from = Math.min(skip, rows.length);
          const values = new Values(at + rows.length - from + 1);
          writeRows(values, at, rows, from, rows.length, offset);
          const shifted = rows.slice(from).map((one) => one + offset);
          expect(Array.from(values, Number)).toEqual([...new Array<number>(at).fill(0), ...shifted, 0]);
        },
      ),
    );
  },
);

test('a view into a larger buffer is written in its own place', () => {
  const all = new BigInt64Array(6);
  writeRows(all.subarray(2, 4), 0, [7, -8], 0, 2, 1);
  expect(Array.from(all)).toEqual([0n, 0n, 8n, -7n, 0n, 0n]);
  fillRows(all, 4, 6, -3);
  expect(Array.from(all)).toEqual([0n, 0n, 8n, -7n, -3n, -3n]);
});
