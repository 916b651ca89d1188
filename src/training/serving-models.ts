import { createRandom, float32, must, type Random } from '../core/index.js';
import { GraphBuilder, type Model } from '../onnx/index.js';
import { ParameterSet, type Weights } from './architectures/parameter-set.js';
import { rankerParts, type RankerShape } from './architectures/ranker.js';
import { userVector, type TowerShape } from './architectures/user-tower.js';
import type { TrainedRetriever } from './train-retriever.js';

/** Every weight of a serving graph is known, so nothing is drawn. */
const UNUSED: Random = createRandom(0);

/**
 * The user tower as it is served: `history` int64 `[requests, maxLength]` and `period` int64 `[requests]` in, `user`
 * float32 `[requests, dimensions + 1]` out. The last element is 1 and meets the item's bias.
 */
export function buildTowerModel(shape: TowerShape, retriever: TrainedRetriever): Model {
  const builder = new GraphBuilder({ name: 'user_tower' });
  const { op } = builder;
  const set = new ParameterSet(builder, UNUSED, retriever.weights);
  const history = builder.input('history', 'int64', ['requests', shape.maxLength]);
  const period = builder.input('period', 'int64', ['requests']);
  const vector = userVector(set, shape, history, period, itemTable(builder, shape, retriever));
  const one = op.Expand(1, op.Concat(op.Shape(period), [1], { axis: 0 }));
  builder.node('Concat', [vector, one], { axis: 1 }, ['user']);
  builder.output('user', 'float32', ['requests', shape.dimensions + 1]);
  return builder.build();
}

/** The item tower's output, float32 `[items, dimensions + 1]`: each item's vector and its bias. */
export function itemVectors(
  { dimensions }: TowerShape,
  { itemTable: table, itemBias }: TrainedRetriever,
): Float32Array {
  const items = itemBias.length - 1;
  const vectors = new Float32Array(items * (dimensions + 1));
  for (let item = 1; item <= items; item++) {
    const at = (item - 1) * (dimensions + 1);
    vectors.set(table.subarray(item * dimensions, (item + 1) * dimensions), at);
    vectors[at + dimensions] = must(itemBias[item], 'bias');
  }
  return vectors;
}

/**
 * The ranker as it is served: `history`, `period`, `candidate` int64 `[candidates]`, `request_index` int64
 * `[candidates]` in, `score` float32 `[candidates]` out.
 */
export function buildRankerModel(shape: RankerShape, retriever: TrainedRetriever, weights: Weights): Model {
  const builder = new GraphBuilder({ name: 'ranker' });
  const set = new ParameterSet(builder, UNUSED, new Map([...retriever.weights, ...weights]));
  const { tower } = shape;
  const { match, judgement } = rankerParts(set, shape, {
    history: builder.input('history', 'int64', ['requests', tower.maxLength]),
    period: builder.input('period', 'int64', ['requests']),
    candidate: builder.input('candidate', 'int64', ['candidates']),
    requestIndex: builder.input('request_index', 'int64', ['candidates']),
    table: itemTable(builder, tower, retriever),
    itemBias: builder.initializer('items.bias', float32(retriever.itemBias)),
  });
  builder.node('Add', [match, judgement], {}, ['score']);
  builder.output('score', 'float32', ['candidates']);
  return builder.build();
}

function itemTable(
  builder: GraphBuilder,
  { dimensions }: TowerShape,
  { itemTable: table }: TrainedRetriever,
): string {
  return builder.initializer('items.table', float32(table, [table.length / dimensions, dimensions]));
}
