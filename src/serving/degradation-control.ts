const STEPS = 10;
const UP_EVERY_MS = 500;
const DOWN_EVERY_MS = 1_000;
/** How long the queue must have been short before the first step back. */
const CALM_MS = 3_000;
const MAX_CALM_MS = 30_000;
/** Part of the threshold below which the queue is short. */
const CALM_PART = 0.25;

/** What the control sees at a moment. */
export interface Pressure {
  readonly nowMs: number;
  /** Time in the queue now. */
  readonly queueMs: number;
  /** A request was refused, or would be. */
  readonly saturated: boolean;
}

/**
 * Moves a share of the traffic, in steps of a tenth: up every half second while the queue is long, down every second
 * once it has been short for three. A step down that the queue does not bear is taken back, and the next one waits
 * twice as long (30 s at most): under a steady load the share stands still instead of swinging.
 */
export class DegradationControl {
  readonly #thresholdMs: number;
  #steps = 0;
  #movedAtMs = -Infinity;
  #lastMove: 'up' | 'down' = 'up';
  #calmSinceMs: number | undefined;
  #calmNeededMs = CALM_MS;

  /** @param thresholdMs time in the queue above which traffic moves. */
  constructor(thresholdMs: number) {
    this.#thresholdMs = thresholdMs;
  }

  /** Share of the traffic to move, 0 to 1. */
  get share(): number {
    return this.#steps / STEPS;
  }

  /** Whether traffic should move away. */
  isPressed({ queueMs, saturated }: Pressure): boolean {
    return saturated || queueMs > this.#thresholdMs;
  }

  /** To be called several times a second. */
  step(pressure: Pressure): void {
    const { nowMs, queueMs } = pressure;
    if (this.isPressed(pressure)) {
      this.#calmSinceMs = undefined;
      this.#up(nowMs);
    } else if (queueMs < CALM_PART * this.#thresholdMs) {
      this.#calmSinceMs ??= nowMs;
      if (nowMs - this.#calmSinceMs >= this.#calmNeededMs) this.#down(nowMs);
    } else this.#calmSinceMs = undefined;
  }

  /** There is nowhere to move to. */
  reset(): void {
    this.#steps = 0;
    this.#calmNeededMs = CALM_MS;
    this.#calmSinceMs = undefined;
    this.#movedAtMs = -Infinity;
    this.#lastMove = 'up';
  }

  #up(nowMs: number): void {
    if (this.#steps === STEPS || nowMs - this.#movedAtMs < UP_EVERY_MS) return;
    if (this.#lastMove === 'down') {
      const tookBack = nowMs - this.#movedAtMs < MAX_CALM_MS;
      this.#calmNeededMs = tookBack ? Math.min(MAX_CALM_MS, 2 * this.#calmNeededMs) : CALM_MS;
    }
    this.#move(nowMs, 'up');
  }

  #down(nowMs: number): void {
    if (this.#steps === 0 || nowMs - this.#movedAtMs < DOWN_EVERY_MS) return;
    this.#move(nowMs, 'down');
  }

  #move(nowMs: number, direction: 'up' | 'down'): void {
    this.#steps += direction === 'up' ? 1 : -1;
    this.#lastMove = direction;
    this.#movedAtMs = nowMs;
  }
}
