import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { float32, int64, must, WhittleError } from '../../src/core/index.js';
import type { Contract, InputBinding, Tensor } from '../../src/core/index.js';
import { mergeRankJobs, splitScores, stackRows } from '../../src/runtime/index.js';
import type { RankJob } from '../../src/runtime/index.js';
import { errorCode } from '../support/error-code.js';

const history: InputBinding = {
  name: 'history',
  dtype: 'int64',
  dims: ['requests', 2],
  per: 'request',
  source: { from: 'history', maxLength: 2, offset: 1, pad: 0 },
};
const price: InputBinding = {
  name: 'price',
  dtype: 'float32',
  dims: ['candidates'],
  per: 'candidate',
  source: { from: 'column', column: 'price' },
};
const requestIndex: InputBinding = {
  name: 'request_index',
  dtype: 'int64',
  dims: ['candidates'],
  per: 'candidate',
  source: { from: 'request_index' },
};
const grouped: Contract = { inputs: [history, price, requestIndex], output: 'score' };
const repeated: Contract = { inputs: [history, price], output: 'score' };

function job(items: readonly number[], prices: readonly number[]): RankJob {
  return {
    inputs: { history: int64(items, [1, 2]), price: float32(Float32Array.from(prices)) },
    rows: prices.length,
  };
}

const jobs = [job([7, 8], [1, 2, 3]), job([9, 9], []), job([5, 6], [4])];

describe('mergeRankJobs', () => {
  it('stacks requests, concatenates candidates and says which belongs to which', () => {
    expect(mergeRankJobs(grouped, jobs)).toEqual({
      history: int64([7, 8, 9, 9, 5, 6], [3, 2]),
      price: float32(Float32Array.of(1, 2, 3, 4)),
      request_index: int64([0, 0, 0, 2]),
    });
  });

  it('repeats the request for each candidate where the model has no request index', () => {
    expect(mergeRankJobs(repeated, jobs)).toEqual({
      history: int64([7, 8, 7, 8, 7, 8, 5, 6], [4, 2]),
      price: float32(Float32Array.of(1, 2, 3, 4)),
    });
  });

  it('repeats any number of rows of any type exactly', () => {
    const types = ['float32', 'int8', 'float16', 'int64'] as const;
    const oneJob = fc.record({ rows: fc.nat({ max: 70 }), seed: fc.integer({ min: 0, max: 99 }) });
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.integer({ min: 1, max: 5 }),
        fc.array(oneJob, { minLength: 1, maxLength: 5 }),
        (dtype, width, given) => {
          const binding: InputBinding = { ...history, name: 'x', dtype, dims: ['requests', width] };
          const row = (seed: number): number[] => Array.from({ length: width }, (_, column) => seed + column);
          const merged = mergeRankJobs(
            { inputs: [binding], output: 'score' },
            given.map(({ rows, seed }) => ({ inputs: { x: tensor(dtype, row(seed)) }, rows })),
          )['x'];
          const expected = given.flatMap(({ rows, seed }) =>
            Array.from({ length: rows }, () => row(seed)).flat(),
          );
          expect(merged?.dims).toEqual([expected.length / width, width]);
          expect(Array.from(must(merged, 'x').data, Number)).toEqual(expected);
        },
      ),
    );
  });

  it('does not copy what stands alone', () => {
    const [first] = jobs;
    const feeds = mergeRankJobs(grouped, jobs.slice(0, 1));
    expect(feeds['history']?.data).toBe(first?.inputs['history']?.data);
    expect(feeds['price']?.data).toBe(first?.inputs['price']?.data);
    expect(feeds['request_index']).toEqual(int64([0, 0, 0]));
  });

  it.each([
    ['lacks an input', { inputs: { history: int64([1, 2], [1, 2]) }, rows: 1 }],
    [
      'has another type',
      { inputs: { ...jobs[2]?.inputs, history: float32(new Float32Array(2), [1, 2]) }, rows: 1 },
    ],
    ['has another number of rows', { inputs: must(jobs[2], 'job').inputs, rows: 2 }],
    [
      'has rows of another width',
      { inputs: { ...jobs[2]?.inputs, history: int64([1, 2, 3], [1, 3]) }, rows: 1 },
    ],
  ])('refuses a job that %s', (_, wrong) => {
    expect(errorCode(() => mergeRankJobs(grouped, [...jobs, wrong]))).toBe('CONTRACT_MISMATCH');
  });
});

describe('the bound on a batch', () => {
  const wide: InputBinding = { ...history, dims: ['requests', 2 ** 15] };

  it.each([
    ['an input', [wide], 2 ** 10 + 1],
    ['the request index', [requestIndex], 2 ** 25 + 1],
  ])('holds for %s, before anything is allocated', (_, inputs, rows) => {
    const one = { inputs: { history: int64(new BigInt64Array(2 ** 15), [1, 2 ** 15]) }, rows };
    const before = process.memoryUsage().arrayBuffers;
    expect(errorCode(() => mergeRankJobs({ inputs, output: 'score' }, [one]))).toBe('INPUT_TOO_LARGE');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 24);
    expect(
      mergeRankJobs({ inputs: [wide], output: 'score' }, [{ ...one, rows: 2 }])['history']?.dims,
    ).toEqual([2, 2 ** 15]);
  });
});

describe('stackRows', () => {
  it('puts rows of numbers behind each other, whatever their type', () => {
    for (const dtype of ['float32', 'int8', 'float16', 'int64'] as const) {
      const stacked = stackRows('x', [tensor(dtype, [1, 2]), tensor(dtype, [3, 4])]);
      expect(stacked).toEqual({ ...tensor(dtype, [1, 2, 3, 4]), dims: [2, 2] });
    }
  });

  it('does not copy what stands alone', () => {
    const alone = tensor('int64', [1, 2]);
    expect(stackRows('x', [alone])).toBe(alone);
  });

  it('refuses rows that differ', () => {
    const row = tensor('float32', [1, 2]);
    for (const other of [tensor('float32', [1]), tensor('int8', [1, 2]), { ...row, dims: [2] }])
      expect(errorCode(() => stackRows('x', [row, other]))).toBe('INTERNAL');
  });
});

describe('splitScores', () => {
  const scores = Float32Array.of(0.1, 0.2, 0.3, 0.4);

  it.each([[[4]], [[4, 1]]])('gives each job a view of its scores of shape %j', (dims) => {
    const shares = splitScores(float32(scores, dims), jobs);
    expect(shares).toEqual([Float32Array.of(0.1, 0.2, 0.3), new Float32Array(0), Float32Array.of(0.4)]);
    for (const share of shares) expect((share as Float32Array).buffer).toBe(scores.buffer);
  });

  it.each([NaN, Infinity, -Infinity])('fails only the job that has the score %d', (bad) => {
    const [first, second, third] = splitScores(float32(Float32Array.of(1, bad, 3, 4)), jobs);
    expect(first).toBeInstanceOf(WhittleError);
    expect(first).toMatchObject({ code: 'RUNNER_FAILED' });
    expect(second).toEqual(new Float32Array(0));
    expect(third).toEqual(Float32Array.of(4));
  });

  it('takes the largest finite scores for what they are', () => {
    const largest = 3.4028234663852886e38;
    expect(splitScores(float32(Float32Array.of(largest, largest, -largest, 0)), jobs)[0]).toBeInstanceOf(
      Float32Array,
    );
  });

  it('refuses an output of another size or type', () => {
    expect(errorCode(() => splitScores(float32(new Float32Array(3)), jobs))).toBe('CONTRACT_MISMATCH');
    expect(errorCode(() => splitScores(int64([1, 2, 3, 4]), jobs))).toBe('CONTRACT_MISMATCH');
    expect(errorCode(() => splitScores(float32(new Float32Array(8), [4, 2]), jobs))).toBe(
      'CONTRACT_MISMATCH',
    );
  });
});

function tensor(dtype: 'float32' | 'int8' | 'float16' | 'int64', values: readonly number[]): Tensor {
  const dims = [1, values.length];
  if (dtype === 'int64') return int64(values, dims);
  const Elements = { float32: Float32Array, int8: Int8Array, float16: Uint16Array }[dtype];
  return { dtype, dims, data: Elements.from(values) };
}
