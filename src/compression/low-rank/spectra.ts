import { must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import type { Float64Products, Matrix } from '../calibration/float64-products.js';
import { secondMoments, withoutOnes } from '../calibration/second-moments.js';
import type { SecondMoment } from '../calibration/second-moments.js';
import { addRidge } from '../kernels/linear-algebra-kernel.js';
import type { PassContext } from '../pass.js';
import { whitenedSpectrum } from './spectrum.js';
import type { Spectrum } from './spectrum.js';
import { weightMatrix } from './weight-group.js';
import type { WeightGroup } from './weight-group.js';

/** Keeps the second moment positive definite where the requests do not span all inputs. */
const RIDGE = 1e-6;
/** Second moments that are held at once. */
const MAX_MOMENT_BYTES = 2 ** 27;

/** A weight matrix with its spectrum; undefined where its weights or inputs are not finite. */
export interface Decomposed {
  readonly group: WeightGroup;
  readonly spectrum: Spectrum | undefined;
}

/**
 * Decomposes weight matrices one after the other, so that one is in memory at a time, under the second moments that
 * their inputs have on `feeds`; under none where `feeds` is undefined.
 */
export class Spectra {
  readonly #model: Model;
  readonly #feeds: readonly TensorMap[] | undefined;
  readonly #context: PassContext;
  readonly #products: Float64Products;
  /** Of the last chunk, so that a second walk over one chunk does not run the model again. */
  #moments: { readonly taps: string; readonly of: ReadonlyMap<string, SecondMoment> } | undefined;

  constructor(
    model: Model,
    feeds: readonly TensorMap[] | undefined,
    context: PassContext,
    products: Float64Products,
  ) {
    this.#model = model;
    this.#feeds = feeds;
    this.#context = context;
    this.#products = products;
  }

  /** `detail` says for progress what the walk is for. */
  async *walk(groups: readonly WeightGroup[], detail: string): AsyncGenerator<Decomposed> {
    let done = 0;
    for (const chunk of this.#chunks(groups)) {
      const moments = await this.#momentsOf(chunk);
      for (const group of chunk) {
        this.#context.progress?.(done++, groups.length, `${detail}: ${group.products[0].name}`);
        yield { group, spectrum: await this.#decompose(group, moments) };
      }
    }
  }

  #chunks(groups: readonly WeightGroup[]): WeightGroup[][] {
    const chunks: WeightGroup[][] = [];
    let bytes = Infinity;
    for (const group of groups) {
      const own = this.#feeds === undefined ? 0 : 8 * (group.inputs + 1) ** 2 * group.products.length;
      if (bytes + own > MAX_MOMENT_BYTES) {
        chunks.push([]);
        bytes = 0;
      }
      chunks.at(-1)?.push(group);
      bytes += own;
    }
    return chunks;
  }

  async #momentsOf(chunk: readonly WeightGroup[]): Promise<ReadonlyMap<string, SecondMoment>> {
    if (this.#feeds === undefined) return new Map();
    const taps = chunk.flatMap(({ products, inputs }) =>
      products.map(({ input }) => ({ value: input, width: inputs })),
    );
    const key = JSON.stringify(taps);
    if (this.#moments?.taps === key) return this.#moments.of;
    this.#moments = undefined;
    const of = await secondMoments(this.#model, taps, this.#feeds, this.#context);
    this.#moments = { taps: key, of };
    return of;
  }

  #decompose(group: WeightGroup, moments: ReadonlyMap<string, SecondMoment>): Promise<Spectrum | undefined> {
    const { inputs } = group;
    const gram: Matrix = { rows: inputs, columns: inputs, data: new Float64Array(inputs * inputs) };
    if (this.#feeds !== undefined)
      for (const { input } of group.products)
        addInPlace(gram.data, withoutOnes(must(moments.get(input), `second moment of ${input}`)));
    addRidge(gram.data, inputs, RIDGE);
    return whitenedSpectrum(weightMatrix(group), gram, this.#products);
  }
}

function addInPlace(target: Float64Array, added: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i] = (target[i] ?? 0) + (added[i] ?? 0);
}
