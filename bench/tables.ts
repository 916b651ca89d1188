import { must } from '../src/core/index.js';
import { formatInterval, markdownTable } from '../src/evaluation/index.js';
import type { EvaluationReport, VariantRow } from '../src/cli/evaluation/report.js';
import type { Interval } from '../src/statistics/index.js';
import type { Figure } from './figures.js';

/** A figure beside what was measured. */
export interface MeasuredFigure {
  readonly figure: Figure;
  readonly retention: Interval;
  readonly overlapAt10: Interval;
  readonly byteShare: number;
  readonly microseconds: number;
  readonly timesFaster: number;
}

/** Sets a figure beside its variant in the report. */
export function measuredRow(figure: Figure, report: EvaluationReport): MeasuredFigure {
  const rowOf = (name: string): VariantRow =>
    must(
      report.variants.find((row) => row.name === name),
      name,
    );
  const [own, full] = [rowOf(figure.variant), rowOf('full')];
  const at = report.timedRows.indexOf(100);
  const microseconds = must(own.runMicroseconds[at], 'time of 100 rows');
  return {
    figure,
    retention: own.retention,
    overlapAt10: own.overlapAt10,
    byteShare: bytesOf(own, figure.bytes.of) / bytesOf(full, figure.bytes.of),
    microseconds,
    timesFaster: must(full.runMicroseconds[at], 'time of full') / microseconds,
  };
}

function bytesOf({ denseBytes, tableBytes }: VariantRow, of: Figure['bytes']['of']): number {
  return { dense: denseBytes, tables: tableBytes, all: denseBytes + tableBytes }[of];
}

const mark = (holds: boolean): string => (holds ? 'reached' : 'missed');

/** The figures as a table, each beside its floor. */
export function rowTable(rows: readonly MeasuredFigure[], full: VariantRow): string {
  const intro = `Full: NDCG@10 ${formatInterval(full.ndcgAt10, 4)}, ${full.denseBytes} bytes dense, ${full.tableBytes} bytes of tables.\n\n`;
  return (
    intro +
    markdownTable(
      [
        { header: 'variant', cell: ({ figure }) => figure.variant },
        { header: 'retention', cell: ({ retention }) => formatInterval(retention, 4) },
        {
          header: 'floor',
          cell: ({ figure, retention }) => `${figure.retention} ${mark(retention.mean >= figure.retention)}`,
        },
        { header: 'overlap@10', cell: ({ overlapAt10 }) => formatInterval(overlapAt10, 4) },
        { header: 'bytes', cell: ({ byteShare, figure }) => `${byteShare.toFixed(3)} of ${figure.bytes.of}` },
        {
          header: 'at most',
          cell: ({ figure, byteShare }) => `${figure.bytes.share} ${mark(byteShare <= figure.bytes.share)}`,
        },
        { header: 'µs, 100 rows', cell: ({ microseconds }) => microseconds.toFixed(0) },
        { header: 'times faster', cell: ({ timesFaster }) => timesFaster.toFixed(2) },
        {
          header: 'at least',
          cell: ({ figure, timesFaster }) =>
            `${figure.timesFaster} ${mark(timesFaster >= figure.timesFaster)}`,
        },
      ],
      rows,
    )
  );
}

/** Retention by segment: a row a segment, a column a variant. */
export function segmentTable({ segments }: EvaluationReport): string {
  const names = [...new Set(segments.map(({ name }) => name))].filter((name) => name !== 'full');
  const places = [...new Map(segments.map((row) => [row.segment, row])).values()];
  return markdownTable(
    [
      { header: 'segment', cell: ({ segment, bounds }) => `${segment} (${bounds})` },
      { header: 'cases', cell: ({ cases }) => cases },
      ...names.map((name) => ({
        header: name,
        cell: ({ segment }: { segment: string }) => {
          const row = segments.find((one) => one.name === name && one.segment === segment);
          return row?.retention === undefined ? '' : row.retention.mean.toFixed(3);
        },
      })),
    ],
    places,
  );
}
