import { elementCount, float32, must, type Random } from '../../core/index.js';
import type { GraphBuilder } from '../../onnx/index.js';

/** Weights by name, as a trainer returns them. */
export type Weights = ReadonlyMap<string, Float32Array>;

/**
 * Writes the weights of an architecture into a graph and remembers their names. Fresh weights are drawn from
 * `random`; known ones are taken from `known`, so that the same code builds the graph to train and the graph to serve.
 */
export class ParameterSet {
  readonly names: string[] = [];
  readonly builder: GraphBuilder;
  readonly #random: Random;
  readonly #known: Weights;

  constructor(builder: GraphBuilder, random: Random, known: Weights = new Map()) {
    this.builder = builder;
    this.#random = random;
    this.#known = known;
  }

  /** A weight drawn from a normal distribution with this standard deviation. */
  normal(name: string, dims: readonly number[], deviation: number): string {
    return this.#add(name, dims, () =>
      Float32Array.from({ length: elementCount(dims) }, () => deviation * this.#random.normal()),
    );
  }

  /** A weight whose elements all begin as `value`. */
  filled(name: string, dims: readonly number[], value: number): string {
    return this.#add(name, dims, () => new Float32Array(elementCount(dims)).fill(value));
  }

  /** A weight that begins as `data`, which is copied. */
  given(name: string, dims: readonly number[], data: Float32Array): string {
    return this.#add(name, dims, () => data.slice());
  }

  #add(name: string, dims: readonly number[], fresh: () => Float32Array): string {
    this.names.push(name);
    const data = this.#known.has(name) ? must(this.#known.get(name), name) : fresh();
    return this.builder.initializer(name, float32(data, dims));
  }
}
