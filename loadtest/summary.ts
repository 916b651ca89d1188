import { errorCount, type Measurement } from './measurement.js';
import { median } from './quantile.js';

/** What `GET /v1/variants` says of a variant, as far as the table shows it. */
export interface VariantFacts {
  readonly name: string;
  readonly fileBytes: number;
  readonly sharedWeightBytes: number;
  readonly runner: { readonly privateBytes?: number };
  readonly fidelity: {
    readonly count: number;
    readonly overlapAt10?: { readonly mean: number; readonly low?: number; readonly high?: number };
  };
}

/** One line of the table: a pipeline, or the mixture. Figures are medians over rounds, counts are sums. */
export interface Row {
  readonly name: string;
  /** The ranker that served it; absent for the mixture and for pipelines without one. */
  readonly variant?: VariantFacts;
  readonly rounds: number;
  readonly answers: number;
  readonly requestsPerSecond?: number;
  readonly p50Ms?: number;
  readonly p90Ms?: number;
  readonly p99Ms?: number;
  readonly cpuMicrosPerRequest?: number;
  readonly errors: number;
  /** Answers that came from a cache and so say nothing of the model. */
  readonly cached: number;
  readonly answersByPipeline: Readonly<Record<string, number>>;
  readonly answersByVariant: Readonly<Record<string, number>>;
}

const MEDIANS = ['requestsPerSecond', 'p50Ms', 'p90Ms', 'p99Ms', 'cpuMicrosPerRequest'] as const;

/** Rows in the order of `pipelines`, then the mixture; the warm-up has none. */
export function summarise(
  pipelines: readonly string[],
  measurements: readonly Measurement[],
  variants: readonly VariantFacts[],
): readonly Row[] {
  const alone = pipelines.map((pipeline) => {
    const ofPipeline = measurements.filter((one) => one.kind === 'alone' && one.pipeline === pipeline);
    return withVariant(rowOf(pipeline, ofPipeline), variants);
  });
  const mixture = measurements.filter(({ kind }) => kind === 'mixture');
  return [...alone, rowOf('mixture', mixture)];
}

function rowOf(name: string, measurements: readonly Measurement[]): Row {
  const total = (count: (one: Measurement) => number): number =>
    measurements.reduce((sum, one) => sum + count(one), 0);
  const medians = MEDIANS.map((figure) => [figure, median(measurements.map((one) => one[figure]))] as const);
  return {
    name,
    rounds: measurements.length,
    answers: total(({ answers }) => answers),
    ...Object.fromEntries(medians.filter(([, value]) => value !== undefined)),
    errors: total(errorCount),
    cached: total(({ server }) => server.cached),
    answersByPipeline: addUp(measurements.map(({ server }) => server.answersByPipeline)),
    answersByVariant: addUp(measurements.map(({ server }) => server.answersByVariant)),
  };
}

/** The variant of a pipeline is the one that ranked most of its answers; some may have had nothing to rank. */
function withVariant(row: Row, variants: readonly VariantFacts[]): Row {
  const [most] = Object.entries(row.answersByVariant).sort(([, a], [, b]) => b - a);
  const variant = variants.find(({ name }) => name === most?.[0]);
  return variant === undefined ? row : { ...row, variant };
}

function addUp(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums = new Map<string, number>();
  for (const [key, count] of counts.flatMap((one) => Object.entries(one)))
    sums.set(key, (sums.get(key) ?? 0) + count);
  return Object.fromEntries(sums);
}
