/** One stretch of load. Without a pipeline nothing is forced: it is the mixture. */
export interface Phase {
  readonly kind: 'warm-up' | 'alone' | 'mixture';
  readonly pipeline?: string;
  /** From 1; 0 for the warm-up. */
  readonly round: number;
}

/**
 * A warm-up of each pipeline, then each alone in rounds whose order turns round every time (A B C, C B A, …), so that
 * a machine that drifts does not favour one, then the mixture as many times.
 */
export function planPhases(pipelines: readonly string[], rounds: number): readonly Phase[] {
  const numbers = Array.from({ length: rounds }, (_, place) => place + 1);
  return [
    ...pipelines.map((pipeline): Phase => ({ kind: 'warm-up', pipeline, round: 0 })),
    ...numbers.flatMap((round) =>
      (round % 2 === 1 ? pipelines : pipelines.toReversed()).map((pipeline): Phase => ({
        kind: 'alone',
        pipeline,
        round,
      })),
    ),
    ...numbers.map((round): Phase => ({ kind: 'mixture', round })),
  ];
}
