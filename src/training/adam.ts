import { WhittleError } from '../core/index.js';
import type { Kernels } from './adam-kernel.js';

/** Adam with decoupled weight decay. Where a field is left out, the usual value stands. */
export interface AdamOptions {
  /** Step size, or a schedule of it by step, counted from 1. Default 1e-3. */
  readonly learningRate?: number | ((step: number) => number);
  /** Decay of the gradient's running mean. Default 0.9. */
  readonly beta1?: number;
  /** Decay of the squared gradient's running mean. Default 0.999. */
  readonly beta2?: number;
  /** Added to the denominator. Default 1e-8. */
  readonly epsilon?: number;
  /** Share of the weights, times the learning rate, that a step takes away; by parameter where a function. Default 0. */
  readonly weightDecay?: number | ((parameter: string) => number);
  /** Gradients of all parameters together are scaled down to this Euclidean norm. Default: not clipped. */
  readonly clipNorm?: number;
}

/** Byte addresses of equally long float32 arrays. */
export interface AdamArrays {
  readonly weights: number;
  readonly gradient: number;
  readonly firstMoment: number;
  readonly secondMoment: number;
}

/** Moves weights by one step. */
export type AdamUpdate = (arrays: AdamArrays, bytes: number) => void;

/** The optimizer's rule and its step count; weights and moments belong to the parameters. */
export class Adam {
  readonly #kernels: Kernels;
  readonly #options: AdamOptions;
  #step = 0;

  /** @throws INPUT_INVALID for a value outside its range. */
  constructor(kernels: Kernels, options: AdamOptions) {
    const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, clipNorm = Infinity } = options;
    checkRange('beta1', beta1, beta1 >= 0 && beta1 < 1, '0 <= beta1 < 1');
    checkRange('beta2', beta2, beta2 >= 0 && beta2 < 1, '0 <= beta2 < 1');
    checkRange('epsilon', epsilon, epsilon > 0, 'epsilon > 0');
    checkRange('clipNorm', clipNorm, clipNorm > 0, 'clipNorm > 0');
    this.#kernels = kernels;
    this.#options = options;
  }

  /** Steps done so far. */
  get stepCount(): number {
    return this.#step;
  }

  /**
   * Begins a step; the answer makes each parameter's update. `gradientNorm` is asked for only where gradients are
   * clipped: the norm over all parameters.
   */
  beginStep(gradientNorm: () => number): (parameter: string) => AdamUpdate {
    const { learningRate = 1e-3, clipNorm } = this.#options;
    this.#step += 1;
    const rate = typeof learningRate === 'number' ? learningRate : learningRate(this.#step);
    checkRange('learningRate', rate, rate >= 0 && Number.isFinite(rate), 'a finite number >= 0');
    const scale = clipNorm === undefined ? 1 : Math.min(1, clipNorm / gradientNorm());
    return (parameter) => this.#update(parameter, rate, scale);
  }

  #update(parameter: string, rate: number, gradientScale: number): AdamUpdate {
    const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = this.#options;
    const decay = typeof weightDecay === 'number' ? weightDecay : weightDecay(parameter);
    const keep = 1 - rate * decay;
    const stepSize = rate / (1 - beta1 ** this.#step);
    const correction = 1 / Math.sqrt(1 - beta2 ** this.#step);
    return ({ weights, gradient, firstMoment, secondMoment }, bytes) => {
      this.#kernels.adam(
        weights,
        gradient,
        firstMoment,
        secondMoment,
        bytes,
        gradientScale,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        keep,
        stepSize,
        correction,
        epsilon,
      );
    };
  }
}

function checkRange(field: string, value: number, holds: boolean, allowed: string): void {
  if (holds) return;
  throw new WhittleError('INPUT_INVALID', `${field} is ${value}, but must satisfy: ${allowed}`, {
    field,
    value,
    allowed,
  });
}
