import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { InputBinding, InputSource } from '../../src/core/index.js';
import { bindCandidates, bindRequest, type ItemFeatures } from '../../src/serving/binding.js';
import { errorCode } from '../support/error-code.js';

const context = { history: [], timeSeconds: 0, inputs: {} };
const noFeatures: ItemFeatures = {
  table: () => {
    throw new Error('no input reads the catalogue');
  },
};

function perRequest(
  source: InputSource,
  dims: InputBinding['dims'],
  dtype: InputBinding['dtype'] = 'int64',
): InputBinding {
  return { name: 'x', dtype, dims, per: 'request', source };
}

function historyOf(rows: readonly number[], maxLength: number, offset: number, pad: number): number[] {
  const binding = perRequest({ from: 'history', maxLength, offset, pad }, ['n', maxLength]);
  const tensor = bindRequest([binding], { ...context, history: rows })['x'];
  expect(tensor?.dims).toEqual([1, maxLength]);
  return Array.from(tensor?.data as BigInt64Array, Number);
}

describe('inputs per request', () => {
  test('a short history is filled in front, rows shifted and the padding not', () => {
    expect(historyOf([4, 0, 9], 5, 1, 0)).toEqual([0, 0, 5, 1, 10]);
    expect(historyOf([], 3, 1, -1)).toEqual([-1, -1, -1]);
  });

  test('a long history keeps its most recent items in order', () => {
    expect(historyOf([1, 2, 3, 4, 5], 3, 0, 0)).toEqual([3, 4, 5]);
  });

  test('any history: what is there is the end of it, the rest is padding', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(1000)),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(3),
        (rows, length, offset) => {
          const kept = rows.slice(-length);
          const padding = Array.from({ length: length - kept.length }, () => -7);
          expect(historyOf(rows, length, offset, -7)).toEqual([
            ...padding,
            ...kept.map((row) => row + offset),
          ]);
        },
      ),
    );
  });

  test.each([
    [99, 0n],
    [100, 1n],
    [150, 1n],
    [200, 2n],
    [1e9, 2n],
  ])('time %i has passed %i boundaries', (timeSeconds, passed) => {
    const binding = perRequest({ from: 'time', boundaries: [100, 200] }, ['n']);
    const tensor = bindRequest([binding], { ...context, timeSeconds })['x'];
    expect(tensor).toEqual({ dtype: 'int64', dims: [1], data: BigInt64Array.of(passed) });
  });

  test('numbers and vectors that the request carries', () => {
    const bindings = [
      { ...perRequest({ from: 'request', field: 'age' }, ['n'], 'int32'), name: 'age' },
      { ...perRequest({ from: 'request', field: 'query_vector' }, ['n', 3], 'float32'), name: 'query' },
    ];
    const bound = bindRequest(bindings, { ...context, inputs: { age: 41, query_vector: [1, 2.5, -3] } });
    expect(bound['age']).toEqual({ dtype: 'int32', dims: [1], data: Int32Array.of(41) });
    expect(bound['query']).toEqual({ dtype: 'float32', dims: [1, 3], data: Float32Array.of(1, 2.5, -3) });
  });

  test.each([[undefined], [[1, 2]], [[1, 2, 3, 4]], [7]])('a vector of 3 is not %j', (value) => {
    const binding = perRequest({ from: 'request', field: 'v' }, ['n', 3], 'float32');
    const inputs = value === undefined ? {} : { v: value };
    expect(() => bindRequest([binding], { ...context, inputs })).toThrow(
      expect.objectContaining({
        code: 'INPUT_INVALID',
        details: expect.objectContaining({ field: 'inputs.v' }) as object,
      }),
    );
  });

  test('a source that has no value per request is a wrong bundle', () => {
    const binding = perRequest({ from: 'candidate', offset: 0 }, ['n']);
    expect(errorCode(() => bindRequest([binding], context))).toBe('BUNDLE_INVALID');
  });
});

describe('inputs per candidate', () => {
  const candidates = { rows: Int32Array.of(2, 0), retrievalScores: Float32Array.of(0.5, 0.25) };
  const bind = (
    source: InputSource,
    dtype: InputBinding['dtype'],
    dims: InputBinding['dims'],
    features = noFeatures,
  ) => bindCandidates([{ name: 'x', dtype, dims, per: 'candidate', source }], candidates, features)['x'];

  test('rows, shifted', () => {
    expect(bind({ from: 'candidate', offset: 1 }, 'int64', ['c'])).toEqual({
      dtype: 'int64',
      dims: [2],
      data: BigInt64Array.of(3n, 1n),
    });
  });

  test('scores of retrieval', () => {
    expect(bind({ from: 'retrieval' }, 'float32', ['c'])?.data).toEqual(Float32Array.of(0.5, 0.25));
  });

  test('columns and vectors of the catalogue, in any element type', () => {
    const table = { values: Float32Array.of(1, 2, 3, 4, 5, 6), width: 2 };
    const features = { table: () => table };
    const vectors = { from: 'vectors', file: 'v.f32', dimensions: 2 } as const;
    expect(bind(vectors, 'float32', ['c', 2], features)).toEqual({
      dtype: 'float32',
      dims: [2, 2],
      data: Float32Array.of(5, 6, 1, 2),
    });
    const column = { table: () => ({ values: Float32Array.of(7, 8, 9), width: 1 }) };
    expect(bind({ from: 'column', column: 'price' }, 'float64', ['c'], column)?.data).toEqual(
      Float64Array.of(9, 7),
    );
    expect(bind({ from: 'column', column: 'price' }, 'int64', ['c'], column)?.data).toEqual(
      BigInt64Array.of(9n, 7n),
    );
  });

  test('request_index is left to the batch', () => {
    expect(bind({ from: 'request_index' }, 'int64', ['c'])).toBeUndefined();
  });
});
