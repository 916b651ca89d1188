import { expect, test } from 'vitest';
import { float32 } from '../../src/core/index.js';
import type { TensorMap } from '../../src/core/index.js';
import { GraphBuilder, probeShapes, readModel } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import { sharedData } from '../support/shared-data.js';

function batch(rows: number): TensorMap {
  return { x: float32(new Float32Array(rows * 3), [rows, 3]) };
}

test('types, shapes and dynamic dimensions come from two runs', async () => {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['n', 3]);
  const w = builder.initializer('w', float32(new Float32Array(6), [3, 2]));
  const [hidden = ''] = builder.node('MatMul', [x, w], {}, ['hidden']);
  const [best = ''] = builder.node('ArgMax', [hidden], { axis: 1, keepdims: 0 }, ['best']);
  builder.output(best);
  const shapes = await probeShapes(builder.build(), openSession, batch(2), batch(5));
  expect(Object.fromEntries(shapes)).toEqual({
    x: { dtype: 'float32', dims: [2, 3], dynamic: [true, false] },
    w: { dtype: 'float32', dims: [3, 2], dynamic: [false, false] },
    hidden: { dtype: 'float32', dims: [2, 2], dynamic: [true, false] },
    best: { dtype: 'int64', dims: [2], dynamic: [true] },
  });
  const once = await probeShapes(builder.build(), openSession, batch(4));
  expect(once.get('best')).toEqual({ dtype: 'int64', dims: [4], dynamic: [false] });
});

test('a rank that depends on the batch is refused', async () => {
  const builder = new GraphBuilder();
  builder.input('x', 'float32', ['n', 3]);
  builder.input('shape', 'int64', ['rank']);
  builder.output(builder.op.Reshape('x', 'shape'));
  const shape = (...dims: number[]) => ({
    dtype: 'int64' as const,
    dims: [dims.length],
    data: BigInt64Array.from(dims, BigInt),
  });
  const probing = probeShapes(
    builder.build(),
    openSession,
    { ...batch(2), shape: shape(6) },
    { ...batch(2), shape: shape(3, 2) },
  );
  expect(await rejectionCode(probing)).toBe('GRAPH_UNSUPPORTED');
});

const transformer = sharedData('onnx', 'vespa_transformer.onnx');

test.skipIf(transformer === undefined)('every value of a transformer has a shape', async () => {
  const model = await readModel(transformer ?? '');
  const ids = (rows: number, tokens: number): TensorMap => ({
    input: { dtype: 'int32', dims: [rows, tokens], data: new Int32Array(rows * tokens) },
  });
  const shapes = await probeShapes(model, openSession, ids(2, 5), ids(3, 7));
  const names = model.graph.nodes.flatMap((node) => node.outputs).filter((name) => name !== '');
  expect(names.filter((name) => !shapes.has(name))).toEqual([]);
  expect(shapes.get(model.graph.outputs[0]?.name ?? '')?.dynamic[0]).toBe(true);
});
