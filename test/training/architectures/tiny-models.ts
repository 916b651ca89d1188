import { createRandom, elementCount, must, type Random } from '../../../src/core/index.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import { ParameterSet, type Weights } from '../../../src/training/architectures/parameter-set.js';
import { rankerParts, type RankerShape } from '../../../src/training/architectures/ranker.js';
import { tableWidth, userVector, type TowerShape } from '../../../src/training/architectures/user-tower.js';
import type { TrainedRetriever } from '../../../src/training/index.js';

/** Small, and no two sizes equal, so that a mixed-up axis cannot go unseen. */
export const TOWER: TowerShape = { dimensions: 8, maxLength: 6, blocks: 2, heads: 2, periods: 3 };
export const RANKER: RankerShape = { tower: TOWER, crossLayers: 2, hidden: [12, 7] };
export const ITEMS = 20;

function randomArray(random: Random, length: number, deviation: number): Float32Array {
  return Float32Array.from({ length }, () => deviation * random.normal());
}

/** Weights far from their starting values: no bias is 0, no scale 1. */
function randomWeights(builder: GraphBuilder, names: readonly string[], random: Random): Weights {
  return new Map(
    names.map((name) => {
      const { dims } = must(builder.initializers.get(name), name);
      return [name, randomArray(random, elementCount(dims), 0.4)];
    }),
  );
}

/** Towers with random weights; row 0 of the table, which pads, is all zero as training leaves it. */
export function randomRetriever(shape: TowerShape, seed: number): TrainedRetriever {
  const random = createRandom(seed);
  const builder = new GraphBuilder();
  const set = new ParameterSet(builder, random);
  const width = tableWidth(shape);
  userVector(
    set,
    shape,
    { history: builder.input('history', 'int64', ['requests', shape.maxLength]) },
    builder.input('period', 'int64', ['requests']),
    builder.input('table', 'float32', [ITEMS + 1, width]),
    ITEMS + 1,
  );
  const itemTable = randomArray(random, (ITEMS + 1) * width, 0.7).fill(0, 0, width);
  return { weights: randomWeights(builder, set.names, random), itemTable };
}

/** Random weights of the ranker's own part. */
export function randomRanker(shape: RankerShape, retriever: TrainedRetriever, seed: number): Weights {
  const random = createRandom(seed);
  const builder = new GraphBuilder();
  const set = new ParameterSet(builder, random);
  const { maxLength } = shape.tower;
  rankerParts(set, shape, {
    seen: { history: builder.input('history', 'int64', ['requests', maxLength]) },
    period: builder.input('period', 'int64', ['requests']),
    candidate: builder.input('candidate', 'int64', ['candidates']),
    requestIndex: builder.input('request_index', 'int64', ['candidates']),
    table: builder.input('table', 'float32', [ITEMS + 1, tableWidth(shape.tower)]),
    items: ITEMS + 1,
  });
  const own = set.names.filter((name) => !retriever.weights.has(name));
  return randomWeights(builder, own, random);
}

/** A history with padding in front. */
export function padded(items: readonly number[], maxLength: number): number[] {
  return [...Array.from({ length: maxLength - items.length }, () => 0), ...items];
}
