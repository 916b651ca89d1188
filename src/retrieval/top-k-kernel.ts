/**
 * Keeps the best `k` of scored rows in a heap: larger score first, of equal scores the lower row first.
 */
export class TopK {
  readonly #rows: number[] = [];
  readonly #scores: number[] = [];
  readonly #k: number;

  constructor(k: number) {
    this.#k = k;
  }

  /** Offers one row. */
  offer(row: number, score: number): void {
    if (this.#rows.length < this.#k) {
      this.#rows.push(row);
      this.#scores.push(score);
      this.#rise(this.#rows.length - 1);
    } else if (this.#k > 0 && this.#worse(this.#rows[0] as number, this.#scores[0] as number, row, score)) {
      this.#set(0, row, score);
      this.#sink();
    }
  }

  /** Takes everything out, best first. */
  drain(): { readonly rows: Int32Array; readonly scores: Float32Array } {
    const count = this.#rows.length;
    const result = { rows: new Int32Array(count), scores: new Float32Array(count) };
    for (let at = count - 1; at >= 0; at--) {
      result.rows[at] = this.#rows[0] as number;
      result.scores[at] = this.#scores[0] as number;
      const row = this.#rows.pop() as number;
      const score = this.#scores.pop() as number;
      if (at === 0) break;
      this.#set(0, row, score);
      this.#sink();
    }
    return result;
  }

  #rise(start: number): void {
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#worseAt(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(): void {
    const count = this.#rows.length;
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      if (left >= count) return;
      const child = left + 1 < count && this.#worseAt(left + 1, left) ? left + 1 : left;
      if (!this.#worseAt(child, at)) return;
      this.#swap(at, child);
      at = child;
    }
  }

  #worse(row: number, score: number, otherRow: number, otherScore: number): boolean {
    return score < otherScore || (score === otherScore && row > otherRow);
  }

  #worseAt(at: number, other: number): boolean {
    return this.#worse(
      this.#rows[at] as number,
      this.#scores[at] as number,
      this.#rows[other] as number,
      this.#scores[other] as number,
    );
  }

  #set(at: number, row: number, score: number): void {
    this.#rows[at] = row;
    this.#scores[at] = score;
  }

  #swap(at: number, other: number): void {
    const row = this.#rows[at] as number;
    const score = this.#scores[at] as number;
    this.#set(at, this.#rows[other] as number, this.#scores[other] as number);
    this.#set(other, row, score);
  }
}
