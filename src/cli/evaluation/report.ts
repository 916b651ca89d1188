import {
  formatInterval,
  markdownTable,
  summariseRelevance,
  type TableColumn,
  type UserRelevance,
} from '../../evaluation/index.js';
import type { Interval } from '../../statistics/index.js';
import { TIMED_ROWS } from './run-times.js';
import { segmentTable, type SegmentRow } from './segment-rows.js';

/** What a variant costs and keeps. */
export interface VariantRow {
  readonly name: string;
  readonly ndcgAt10: Interval;
  /** Relevance (NDCG@10) divided by full's, paired by user. */
  readonly retention: Interval;
  /** Mean overlap@10 of the pipeline's answers with full's. */
  readonly overlapAt10: Interval;
  /** Graph file, and weight files that no other variant points at. */
  readonly ownBytes: number;
  /** Weight files that other variants point at too. */
  readonly sharedBytes: number;
  /** Memory that only the variant's runner has. */
  readonly privateBytes?: number;
  readonly denseWeights: number;
  /** Constants of dense layers and of tables, with their scales and zero points. */
  readonly denseBytes: number;
  readonly tableBytes: number;
  /** Median µs of one run, aligned with `timedRows`. */
  readonly runMicroseconds: readonly number[];
}

/** All that `whittle evaluate` finds. Documented in docs/evaluate.md. */
export interface EvaluationReport {
  readonly bundle: string;
  readonly dataset: string;
  readonly protocol: string;
  /** Pipelines and floors; empty where the bundle does not recommend. */
  readonly recommend: readonly RelevanceSummary[];
  /** Pipelines; empty where there are no judged queries. */
  readonly search: readonly RelevanceSummary[];
  readonly variants: readonly VariantRow[];
  /** Recommend, by segment of items and of users. */
  readonly segments: readonly SegmentRow[];
  readonly timedRows: readonly number[];
  /** Recall of graph indexes against exact search, by retriever; measured when the bundle was made. */
  readonly indexRecall: Readonly<Record<string, { readonly k: number; readonly recall: number }>>;
}

/** One ranker's mean of each metric with its 95 % interval over cases (users or queries). */
export interface RelevanceSummary {
  readonly name: string;
  readonly cases: number;
  readonly metrics: Readonly<Record<string, Interval>>;
}

/** Sums up what was measured case by case. */
export function summarise(name: string, relevance: UserRelevance): RelevanceSummary {
  const rows = summariseRelevance(relevance);
  const metrics = Object.fromEntries(rows.map(({ metric, interval }) => [metric, interval]));
  return { name, cases: relevance.users.length, metrics };
}

function relevanceTable(rows: readonly RelevanceSummary[]): string {
  const metrics = Object.keys(rows[0]?.metrics ?? {});
  const columns: TableColumn<RelevanceSummary>[] = [
    { header: 'ranker', cell: ({ name }) => name },
    { header: 'cases', cell: ({ cases }) => cases },
    ...metrics.map((metric) => ({
      header: metric,
      cell: (row: RelevanceSummary) => interval(row.metrics[metric], 4),
    })),
  ];
  return markdownTable(columns, rows);
}

function interval(value: Interval | undefined, digits: number): string {
  return value === undefined ? '' : formatInterval(value, digits);
}

function variantTable(rows: readonly VariantRow[]): string {
  const columns: TableColumn<VariantRow>[] = [
    { header: 'variant', cell: ({ name }) => name },
    { header: 'NDCG@10', cell: ({ ndcgAt10 }) => interval(ndcgAt10, 4) },
    { header: 'retention', cell: ({ retention }) => interval(retention, 4) },
    { header: 'overlap@10', cell: ({ overlapAt10 }) => interval(overlapAt10, 4) },
    { header: 'kB of its own', cell: ({ ownBytes }) => (ownBytes / 1000).toFixed(0) },
    { header: 'kB shared', cell: ({ sharedBytes }) => (sharedBytes / 1000).toFixed(0) },
    {
      header: 'private MB',
      cell: ({ privateBytes }) => (privateBytes === undefined ? '' : (privateBytes / 1e6).toFixed(1)),
    },
    { header: 'dense kB', cell: ({ denseBytes }) => (denseBytes / 1000).toFixed(0) },
    { header: 'table kB', cell: ({ tableBytes }) => (tableBytes / 1000).toFixed(0) },
    ...TIMED_ROWS.map((count, place) => ({
      header: `µs, ${count} rows`,
      cell: ({ runMicroseconds }: VariantRow) => runMicroseconds[place]?.toFixed(0) ?? '',
    })),
  ];
  return markdownTable(columns, rows);
}

const SEGMENTS_EXPLAINED =
  'Head, middle and tail items hold a third of all interactions each; a case counts where it has held-out items of the segment, and only those are looked for. Histories are short up to their median.';

/** The report as Markdown. */
export function renderReport(report: EvaluationReport): string {
  const { bundle, dataset, protocol, recommend, search, variants, segments, indexRecall } = report;
  const parts = [
    `# ${bundle} on ${dataset}\n\nHeld out: ${protocol}. Full ranking over all items the user has not had, no sampled negatives. Intervals: 95 %, over cases.\n`,
  ];
  if (recommend.length > 0) parts.push(`## Recommend\n\n${relevanceTable(recommend)}`);
  if (search.length > 0) parts.push(`## Search\n\n${relevanceTable(search)}`);
  if (variants.length > 0) parts.push(`## Variants\n\n${variantTable(variants)}`);
  if (segments.length > 0) parts.push(`## Segments\n\n${SEGMENTS_EXPLAINED}\n\n${segmentTable(segments)}`);
  for (const [name, { k, recall }] of Object.entries(indexRecall)) {
    parts.push(
      `Retriever ${name}: its graph index finds ${(100 * recall).toFixed(2)} % of the exact ${k} nearest items.\n`,
    );
  }
  return parts.join('\n');
}
