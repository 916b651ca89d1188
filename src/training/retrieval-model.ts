import { createRandom, must } from '../core/index.js';
import { GraphBuilder, type Model } from '../onnx/index.js';
import { ParameterSet } from './architectures/parameter-set.js';
import { userVector, type TowerShape } from './architectures/user-tower.js';
import { addItemTable } from './serving-models.js';
import type { TrainedRetriever } from './train-retriever.js';

/**
 * Exact retrieval as one graph: `history` int64 `[requests, maxLength]` and `period` int64 `[requests]` in, `retrieved`
 * int64 `[requests, k]` out: item numbers by falling match, the history's own among them. At most all items.
 */
export function buildRetrievalModel(shape: TowerShape, retriever: TrainedRetriever, k: number): Model {
  const builder = new GraphBuilder({ name: 'retrieval' });
  const { op } = builder;
  // Every weight is known, so nothing is drawn.
  const set = new ParameterSet(builder, createRandom(0), retriever.weights);
  const history = builder.input('history', 'int64', ['requests', shape.maxLength]);
  const period = builder.input('period', 'int64', ['requests']);
  const { table, items } = addItemTable(builder, shape, retriever);
  const user = userVector(set, shape, { history }, period, table, items);
  // Row 0 is padding and must not be retrieved.
  const scores = op.Slice(op.Gemm(user, table, { transB: 1 }), [1], [items], [1]);
  const [, rows] = builder.node('TopK', [scores, [Math.min(k, items - 1)]], { axis: -1 }, 2);
  const one = builder.constant({ dtype: 'int64', dims: [], data: BigInt64Array.of(1n) });
  builder.node('Add', [must(rows, 'rows'), one], {}, ['retrieved']);
  builder.output('retrieved', 'int64', ['requests', 'retrieved']);
  return builder.build();
}
