import { must } from '../../../src/core/index.js';
import type { TowerShape, TrainedRetriever } from '../../../src/training/index.js';

type Vector = readonly number[];

/**
 * The user vector once more, in plain loops and double precision, written from the papers: SASRec's encoder with
 * pre-norm blocks (Xiong et al. 2020, figure 1b), FISM's mean of second vectors. Padding is left out instead of masked,
 * except where there is nothing else.
 */
export function referenceUserVector(
  shape: TowerShape,
  { weights, itemTable }: TrainedRetriever,
  history: readonly number[],
  period: number,
): number[] {
  const { dimensions: width, heads, blocks, periods } = shape;
  const rows = (name: string, row: number, length: number): Vector =>
    Array.from(must(weights.get(name), name).subarray(row * length, (row + 1) * length));
  const bias = (name: string): Vector => Array.from(must(weights.get(name), name));
  const dense = (name: string, x: Vector, to: number): Vector => {
    const weight = must(weights.get(`${name}.weight`), name);
    return bias(`${name}.bias`).map((b, j) =>
      x.reduce((sum, value, i) => sum + value * must(weight[i * to + j], 'w'), b),
    );
  };
  const norm = (name: string, x: Vector): Vector => {
    const mean = x.reduce((sum, value) => sum + value, 0) / width;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    const [scale, shift] = [bias(`${name}.scale`), bias(`${name}.bias`)];
    return x.map((value, j) => ((value - mean) / Math.sqrt(variance + 1e-5)) * at(scale, j) + at(shift, j));
  };
  const isEmpty = history.every((item) => item === 0);
  const places = history.flatMap((item, place) => (item !== 0 || isEmpty ? [place] : []));
  const tableRow = width + periods + 1;
  let x: Vector[] = places.map((place) => {
    const item = at(history, place);
    const vector = Array.from(itemTable.subarray(item * tableRow, item * tableRow + width));
    return add(
      vector.map((value) => value * Math.sqrt(width)),
      rows('tower.positions', place, width),
    );
  });
  for (let block = 0; block < blocks; block++) {
    const name = `tower.block${block}`;
    const normed = x.map((state) => norm(`${name}.norm1`, state));
    const [queries, keys, values] = ['query', 'key', 'value'].map((part) =>
      normed.map((state) => dense(`${name}.attention.${part}`, state, width)),
    ) as [Vector[], Vector[], Vector[]];
    const size = width / heads;
    x = x.map((state, i) => {
      const mixed = Array.from({ length: heads }, (_, head) => {
        const part = (vector: Vector): Vector => vector.slice(head * size, (head + 1) * size);
        // With nothing but padding, the masks drown the logits and all places count alike.
        const logits = keys
          .slice(0, i + 1)
          .map((key) => (isEmpty ? 0 : dot(part(at(queries, i)), part(key)) / Math.sqrt(size)));
        return mean(values.slice(0, i + 1).map(part), softmax(logits));
      }).flat();
      const middle = add(state, dense(`${name}.attention.out`, mixed, width));
      const hidden = dense(`${name}.feed1`, norm(`${name}.norm2`, middle), 4 * width).map((value) =>
        Math.max(0, value),
      );
      return add(middle, dense(`${name}.feed2`, hidden, width));
    });
  }
  const tastes = places.map((place) => rows('tower.tastes', at(history, place), width));
  const state = add(
    norm('tower.norm', must(x.at(-1), 'last state')),
    mean(
      tastes,
      tastes.map(() => 1 / tastes.length),
    ),
  );
  const trend = at(bias('tower.trend'), 0);
  const trends = Array.from({ length: periods }, (_, column) => (column === period ? trend : 0));
  return [...add(state, rows('tower.periods', period, width)), ...trends, 1];
}

function at<T>(values: readonly T[], place: number): T {
  return must(values[place], 'element');
}

function add(left: Vector, right: Vector): Vector {
  return left.map((value, place) => value + at(right, place));
}

function dot(left: Vector, right: Vector): number {
  return left.reduce((sum, value, place) => sum + value * at(right, place), 0);
}

function softmax(logits: Vector): Vector {
  const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

function mean(vectors: readonly Vector[], shares: Vector): Vector {
  return at(vectors, 0).map((_, column) =>
    vectors.reduce((sum, vector, row) => sum + at(vector, column) * at(shares, row), 0),
  );
}
