import { must } from '../../core/index.js';
import type { OpenSession, TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import type { PassContext } from '../pass.js';
import { tapGroups, withTaps } from './tap-values.js';

/** Values that are held at once. */
const MAX_BYTES = 2 ** 28;

/** A value by its names in two models, with its dimensions on one of the feeds. */
export interface ComparedValue {
  readonly name: string;
  readonly changedName: string;
  readonly dims: readonly number[];
}

/**
 * How far float32 values of `changed` are from those of `reference`, by their names there, over all feeds, of which
 * there should be few: root mean square of the difference over that of the reference, 0 for a value that is always zero
 * in both. One of the models is open at a time.
 */
export async function valueErrors(
  reference: Model,
  changed: Model,
  values: readonly ComparedValue[],
  feeds: readonly TensorMap[],
  { openSession }: PassContext,
): Promise<ReadonlyMap<string, number>> {
  const changedName = new Map(values.map((value) => [value.name, value.changedName]));
  const dims = new Map(values.map((value) => [value.name, value.dims]));
  const errors = new Map<string, number>();
  for (const names of tapGroups(dims, MAX_BYTES / feeds.length)) {
    const wanted = await readAll(reference, names, feeds, openSession);
    const changedNames = names.map((name) => must(changedName.get(name), name));
    const sums = new Map(names.map((name) => [name, { error: 0, total: 0 }]));
    await withTaps(changed, changedNames, openSession, async (read) => {
      for (const [index, feed] of feeds.entries()) {
        const got = [...(await read(feed)).values()];
        for (const [at, name] of names.entries())
          addSquares(must(sums.get(name), name), must(wanted[index]?.get(name), name), must(got[at], name));
      }
    });
    for (const [name, { error, total }] of sums) errors.set(name, Math.sqrt(error / (total || 1)));
  }
  return errors;
}

function readAll(
  model: Model,
  names: readonly string[],
  feeds: readonly TensorMap[],
  openSession: OpenSession,
): Promise<readonly ReadonlyMap<string, Float32Array>[]> {
  return withTaps(model, names, openSession, async (read) => {
    const values: ReadonlyMap<string, Float32Array>[] = [];
    for (const feed of feeds) values.push(await read(feed));
    return values;
  });
}

function addSquares(sums: { error: number; total: number }, wanted: Float32Array, got: Float32Array): void {
  for (let i = 0; i < wanted.length; i++) {
    const exact = wanted[i] ?? 0;
    sums.error += ((got[i] ?? 0) - exact) ** 2;
    sums.total += exact ** 2;
  }
}
