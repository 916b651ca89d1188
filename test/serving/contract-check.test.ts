import { expect, test } from 'vitest';
import { float32, type InputBinding, type ValueSpec } from '../../src/core/index.js';
import { checkContract, checkOutput, outputOf } from '../../src/serving/contract-check.js';

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

test('the output must be there, and float32', () => {
  const outputs: ValueSpec[] = [
    { name: 'score', dtype: 'float32', dims: ['candidates'] },
    { name: 'order', dtype: 'int64', dims: ['candidates'] },
  ];
  checkOutput('m.onnx', outputs, 'score');
  expect(() => {
    checkOutput('m.onnx', outputs, 'order');
  }).toThrow(/output order.*expected float32, found int64/);
  expect(() => {
    checkOutput('m.onnx', outputs, 'none');
  }).toThrow(/output none.*found outputs score, order/);
});

test('an output of another size than was asked for is not sent on', () => {
  const score = float32(new Float32Array(6), [3, 2]);
  expect(outputOf('m.onnx', { score }, 'score', 6)).toBe(score);
  expect(() => outputOf('m.onnx', { score }, 'score', 3)).toThrow(/expected 3 elements, found \[3, 2\]/);
  expect(() => outputOf('m.onnx', {}, 'score', 3)).toThrow(/found nothing/);
});
