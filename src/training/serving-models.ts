import { createRandom, float32, type Random } from '../core/index.js';
import { GraphBuilder, type Model } from '../onnx/index.js';
import { ParameterSet, type Weights } from './architectures/parameter-set.js';
import { rankerParts, type RankerShape } from './architectures/ranker.js';
import { cutPadding, tableWidth, userVector, type TowerShape } from './architectures/user-tower.js';
import type { TrainedRetriever } from './train-retriever.js';

/** Every weight of a serving graph is known, so nothing is drawn. */
const UNUSED: Random = createRandom(0);

/**
 * The user tower as it is served: `history` int64 `[requests, maxLength]` and `period` int64 `[requests]` in, `user`
 * float32 `[requests, tableWidth]` out, whose dot product with an item vector is their match.
 */
export function buildTowerModel(shape: TowerShape, retriever: TrainedRetriever): Model {
  const builder = new GraphBuilder({ name: 'user_tower' });
  const set = new ParameterSet(builder, UNUSED, retriever.weights);
  const history = builder.input('history', 'int64', ['requests', shape.maxLength]);
  const period = builder.input('period', 'int64', ['requests']);
  const { table, items } = addItemTable(builder, shape, retriever);
  const vector = userVector(set, shape, cutPadding(set, shape, history), period, table, items);
  builder.node('Identity', [vector], {}, ['user']);
  builder.output('user', 'float32', ['requests', tableWidth(shape)]);
  return builder.build();
}

/** The item tower's output, float32 `[items, tableWidth]`: the item table without its padding row; a view. */
export function itemVectors(shape: TowerShape, { itemTable }: TrainedRetriever): Float32Array {
  return itemTable.subarray(tableWidth(shape));
}

/**
 * The ranker as it is served: `history`, `period`, `candidate` int64 `[candidates]`, `request_index` int64
 * `[candidates]` in, `score` float32 `[candidates]` out: the towers' match plus `weight` times the judgement.
 */
export function buildRankerModel(
  shape: RankerShape,
  retriever: TrainedRetriever,
  weights: Weights,
  weight: number,
): Model {
  // The weight goes into the last layer and costs nothing.
  const scaled = new Map(
    [...weights].map(([name, data]) => [
      name,
      name.startsWith('ranker.out.') ? data.map((value) => weight * value) : data,
    ]),
  );
  const { builder, match, judgement } = rankerGraph(shape, retriever, scaled);
  builder.node('Add', [match, judgement], {}, ['score']);
  builder.output('score', 'float32', ['candidates']);
  return builder.build();
}

/** The ranker with its two parts as outputs: `match` and `judgement`, float32 `[candidates]`. */
export function buildPartsModel(shape: RankerShape, retriever: TrainedRetriever, weights: Weights): Model {
  const { builder, match, judgement } = rankerGraph(shape, retriever, weights);
  builder.node('Identity', [match], {}, ['match']);
  builder.node('Identity', [judgement], {}, ['judgement']);
  builder.output('match', 'float32', ['candidates']);
  builder.output('judgement', 'float32', ['candidates']);
  return builder.build();
}

function rankerGraph(
  shape: RankerShape,
  retriever: TrainedRetriever,
  weights: Weights,
): { builder: GraphBuilder; match: string; judgement: string } {
  const builder = new GraphBuilder({ name: 'ranker' });
  const set = new ParameterSet(builder, UNUSED, new Map([...retriever.weights, ...weights]));
  const { tower } = shape;
  const parts = rankerParts(set, shape, {
    seen: cutPadding(set, tower, builder.input('history', 'int64', ['requests', tower.maxLength])),
    period: builder.input('period', 'int64', ['requests']),
    candidate: builder.input('candidate', 'int64', ['candidates']),
    requestIndex: builder.input('request_index', 'int64', ['candidates']),
    ...addItemTable(builder, tower, retriever),
  });
  return { builder, ...parts };
}

/** The item table as an initializer, the same in every graph, so that its file is shared. */
export function addItemTable(
  builder: GraphBuilder,
  shape: TowerShape,
  { itemTable }: TrainedRetriever,
): { readonly table: string; readonly items: number } {
  const width = tableWidth(shape);
  const items = itemTable.length / width;
  return { table: builder.initializer('items.table', float32(itemTable, [items, width])), items };
}
