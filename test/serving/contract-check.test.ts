import { expect, test } from 'vitest';
import type { InputBinding, ValueSpec } from '../../src/core/index.js';
import { checkContract } from '../../src/serving/contract-check.js';

const model: ValueSpec[] = [
  { name: 'history', dtype: 'int64', dims: ['requests', 8] },
  { name: 'candidate', dtype: 'int64', dims: ['candidates'] },
];
const history: InputBinding = {
  name: 'history',
  dtype: 'int64',
  dims: ['n', 8],
  per: 'request',
  source: { from: 'history', maxLength: 8, offset: 1, pad: 0 },
};
const candidate: InputBinding = {
  name: 'candidate',
  dtype: 'int64',
  dims: ['c'],
  per: 'candidate',
  source: { from: 'candidate', offset: 1 },
};

test('the same inputs in any order, with dynamic dimensions of any name', () => {
  checkContract('m.onnx', model, [candidate, history]);
  checkContract('m.onnx', model, [candidate, { ...history, dims: ['n', 'length'] }]);
});

test.each<[what: string, bindings: InputBinding[], field: string, expected: string, found: string]>([
  ['an input is not bound', [history], 'candidate', 'a binding in the contract', 'none'],
  [
    'a binding has no input',
    [history, candidate, { ...candidate, name: 'price' }],
    'price',
    'an input of the model',
    'inputs history, candidate',
  ],
  ['another type', [{ ...history, dtype: 'int32' }, candidate], 'history', 'int32', 'int64'],
  ['another length', [{ ...history, dims: ['n', 9] }, candidate], 'history', '[n, 9]', '[requests, 8]'],
  ['another rank', [history, { ...candidate, dims: ['c', 1] }], 'candidate', '[c, 1]', '[candidates]'],
])('%s', (_what, bindings, field, expected, found) => {
  expect(() => checkContract('m.onnx', model, bindings)).toThrow(
    expect.objectContaining({
      code: 'CONTRACT_MISMATCH',
      message: `m.onnx: input ${field} does not fit the contract: expected ${expected}, found ${found}`,
      details: { file: 'm.onnx', field, expected, found },
    }),
  );
});
