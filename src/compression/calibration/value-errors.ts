import { must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import type { PassContext } from '../pass.js';
import { withTaps } from './tap-values.js';

/**
 * How far float32 values of `changed` are from those of the same names in `reference`, over all feeds: root mean square
 * of the difference over that of the reference, 0 for a value that is always zero in both.
 */
export async function valueErrors(
  reference: Model,
  changed: Model,
  names: readonly string[],
  feeds: readonly TensorMap[],
  { openSession }: PassContext,
): Promise<ReadonlyMap<string, number>> {
  const sums = new Map(names.map((name) => [name, { error: 0, total: 0 }]));
  await withTaps(reference, names, openSession, (readWanted) =>
    withTaps(changed, names, openSession, async (readGot) => {
      for (const feed of feeds) {
        const wanted = await readWanted(feed);
        for (const [name, got] of await readGot(feed))
          addSquares(must(sums.get(name), name), must(wanted.get(name), name), got);
      }
    }),
  );
  return new Map([...sums].map(([name, { error, total }]) => [name, Math.sqrt(error / (total || 1))]));
}

function addSquares(sums: { error: number; total: number }, wanted: Float32Array, got: Float32Array): void {
  for (let i = 0; i < wanted.length; i++) {
    const exact = wanted[i] ?? 0;
    sums.error += ((got[i] ?? 0) - exact) ** 2;
    sums.total += exact ** 2;
  }
}
