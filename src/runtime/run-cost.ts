import { must } from '../core/index.js';

/** What a run of so many rows took. */
interface Run {
  readonly rows: number;
  readonly ms: number;
}

/** Weight of what is known when a run is added: half of it is forgotten after 14 runs. */
const MEMORY = 0.95;
/** What the fixed cost is pulled towards zero with, in runs. */
const RIDGE = 0.05;
/** Shortest time of a run: keeps ratios finite. */
const SHORTEST_MS = 0.001;
/** A run this many times slower or faster than predicted is an accident, or the first of a new kind. */
const SURPRISE = 2;
/** So many surprises in a row are no accident. */
const SURPRISES = 3;

/**
 * Learns what a run costs from runs measured: `fixedMs + rowMs * rows`, by least squares that forgets. One run that was
 * held up changes nothing; three in a row, all slower or all faster, scale what is known by their median ratio, so that
 * a step of the service time is followed at once. Runs of one size tell nothing of the fixed cost, which is then taken
 * as none: predictions for larger runs are upper bounds until a larger run has been seen.
 */
export class RunCost {
  /** Sums over runs, weighted by age: of 1, rows, rows², ms, rows × ms. */
  #weight = 0;
  #rows = 0;
  #rowsRows = 0;
  #ms = 0;
  #rowsMs = 0;
  #surprises: Run[] = [];
  #fixedMs = 0;
  #rowMs = 0;

  /** Learns from a run. */
  observe(rows: number, ms: number): void {
    if (rows <= 0) return;
    const run = { rows, ms: Math.max(ms, SHORTEST_MS) };
    if (this.#weight > 0 && this.#isSurprise(run)) {
      this.#surprises.push(run);
      if (this.#surprises.length < SURPRISES) return;
      this.#step(this.#surprises);
    } else this.#add(run);
    this.#surprises = [];
    this.#solve();
  }

  /** Expected time of a run; 0 before the first was seen. */
  predictMs(rows: number): number {
    return this.#fixedMs + this.#rowMs * rows;
  }

  /** Rows that a run may hold to be done in `ms`; 0 where not even the fixed cost fits, Infinity while nothing is known. */
  rowsWithin(ms: number): number {
    if (ms < this.#fixedMs) return 0;
    return this.#rowMs === 0 ? Infinity : Math.floor((ms - this.#fixedMs) / this.#rowMs);
  }

  /** Whether a run is off by more than `SURPRISE`; a row of surprises that changes its side starts anew. */
  #isSurprise(run: Run): boolean {
    const ratio = this.#ratio(run);
    if (ratio < SURPRISE && ratio > 1 / SURPRISE) return false;
    const [earlier] = this.#surprises;
    if (earlier !== undefined && this.#ratio(earlier) > 1 !== ratio > 1) this.#surprises = [];
    return true;
  }

  #ratio({ rows, ms }: Run): number {
    return ms / this.predictMs(rows);
  }

  /** The machine got slower or faster: fixed cost and cost of a row alike. */
  #step(runs: readonly Run[]): void {
    const ratios = runs.map((run) => this.#ratio(run)).sort((a, b) => a - b);
    const median = must(ratios[Math.floor(ratios.length / 2)], 'a surprise');
    this.#ms *= median;
    this.#rowsMs *= median;
    for (const run of runs) this.#add(run);
  }

  #add({ rows, ms }: Run): void {
    this.#weight = MEMORY * this.#weight + 1;
    this.#rows = MEMORY * this.#rows + rows;
    this.#rowsRows = MEMORY * this.#rowsRows + rows * rows;
    this.#ms = MEMORY * this.#ms + ms;
    this.#rowsMs = MEMORY * this.#rowsMs + rows * ms;
  }

  /** Least squares with a ridge on the fixed cost; neither cost is negative. */
  #solve(): void {
    const weight = this.#weight + RIDGE;
    const determinant = weight * this.#rowsRows - this.#rows * this.#rows;
    const fixedMs = (this.#rowsRows * this.#ms - this.#rows * this.#rowsMs) / determinant;
    const rowMs = (weight * this.#rowsMs - this.#rows * this.#ms) / determinant;
    if (fixedMs < 0) {
      this.#fixedMs = 0;
      this.#rowMs = this.#rowsMs / this.#rowsRows;
    } else if (rowMs < 0) {
      this.#fixedMs = this.#ms / this.#weight;
      this.#rowMs = 0;
    } else {
      this.#fixedMs = fixedMs;
      this.#rowMs = rowMs;
    }
  }
}
