import { voidReason, type Figures } from '../open-loop/figures.js';

const NONE = '–';

/** Columns that every table of an open loop has, after its own. */
export const FIGURE_HEADER = [
  'offered/s',
  'answered/s',
  'p50 ms',
  'p90 ms',
  'p99 ms',
  'p99 95 %',
  'p99.9 ms',
  'answers',
  'refused',
  'failed',
  'lag p99 ms',
] as const;

/** The cells of {@link FIGURE_HEADER}. A quantile that too few answers stand behind is left out. */
export function figureCells(figures: Figures): readonly string[] {
  return [
    formatRate(figures.offeredPerSecond),
    formatRate(figures.okPerSecond),
    formatMs(figures.p50Ms),
    formatMs(figures.p90Ms),
    `${formatMs(figures.p99Ms)}${voidReason(figures) === undefined ? '' : ' VOID'}`,
    interval(figures),
    figures.ok >= MIN_P999_ANSWERS ? formatMs(figures.p999Ms) : NONE,
    String(figures.ok),
    String(figures.refused),
    String(figures.failed),
    formatMs(figures.lagP99Ms),
  ];
}

/** Ten answers beyond the quantile. */
const MIN_P999_ANSWERS = 10_000;

export function formatMs(value: number | undefined): string {
  if (value === undefined) return NONE;
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}

export function formatRate(value: number | undefined): string {
  return value === undefined ? NONE : value.toFixed(1);
}

export function formatCount(value: number | undefined): string {
  return value === undefined ? NONE : value.toFixed(0);
}

export function formatShare(value: number | undefined): string {
  return value === undefined ? NONE : `${(100 * value).toFixed(1)} %`;
}

function interval({ p99LowMs, p99HighMs }: Figures): string {
  if (p99LowMs === undefined) return NONE;
  return `[${formatMs(p99LowMs)}, ${p99HighMs === undefined ? '?' : formatMs(p99HighMs)}]`;
}
