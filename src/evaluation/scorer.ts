/** Scores the whole catalogue for a user. */
export interface Scorer {
  /**
   * Writes the score of each item into `out` `[items]`, which the caller owns; larger is better.
   * @param history Item indexes, oldest first.
   */
  score(history: Int32Array, out: Float32Array): void;
}
