/** How far a training run is. */
export interface TrainingProgress {
  readonly step: number;
  readonly totalSteps: number;
  /** Since the first step began. */
  readonly samplesPerSecond: number;
  /** Exponential mean of the steps' losses, over about the last 50, without bias towards the first. */
  readonly loss: number;
  /** Time left at the mean speed so far. */
  readonly etaSeconds: number;
}

export interface ProgressOptions {
  readonly totalSteps: number;
  readonly onProgress: (progress: TrainingProgress) => void;
  /** Least time between two reports; the last step is always reported. Default 500. */
  readonly intervalMs?: number;
  /** Monotonic milliseconds; default `performance.now`. */
  readonly clock?: () => number;
}

const LOSS_DECAY = 0.98;

/** Counts steps and calls back now and then. Begins to measure when it is made. */
export class ProgressReporter {
  readonly #options: Required<ProgressOptions>;
  readonly #startMs: number;
  #reportedMs: number;
  #step = 0;
  #samples = 0;
  #lossSum = 0;
  #lossWeight = 0;

  constructor(options: ProgressOptions) {
    this.#options = { intervalMs: 500, clock: () => performance.now(), ...options };
    this.#startMs = this.#options.clock();
    this.#reportedMs = this.#startMs;
  }

  /** Call after each step with its loss and the number of samples in its batch. */
  step(loss: number, samples: number): void {
    this.#step += 1;
    this.#samples += samples;
    this.#lossSum = LOSS_DECAY * this.#lossSum + (1 - LOSS_DECAY) * loss;
    this.#lossWeight = LOSS_DECAY * this.#lossWeight + (1 - LOSS_DECAY);
    const nowMs = this.#options.clock();
    const isLast = this.#step === this.#options.totalSteps;
    if (!isLast && nowMs - this.#reportedMs < this.#options.intervalMs) return;
    this.#reportedMs = nowMs;
    this.#options.onProgress(this.#progressAt(nowMs));
  }

  #progressAt(nowMs: number): TrainingProgress {
    const { totalSteps } = this.#options;
    const elapsedSeconds = Math.max(nowMs - this.#startMs, Number.MIN_VALUE) / 1000;
    return {
      step: this.#step,
      totalSteps,
      samplesPerSecond: this.#samples / elapsedSeconds,
      loss: this.#lossSum / this.#lossWeight,
      etaSeconds: ((totalSteps - this.#step) * elapsedSeconds) / this.#step,
    };
  }
}
