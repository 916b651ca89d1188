import type { LoadOptions } from '../options.js';
import { voidRemarks } from '../open-loop/blocks.js';
import type { RateRow } from '../open-loop/rate-run.js';
import type { ReportDocument } from './document.js';
import { FIGURE_HEADER, figureCells, formatCount, formatMs } from './figures.js';
import type { Plot } from './line-plot.js';

/** The document of a run at given rates. */
export function rateDocument(
  rows: readonly RateRow[],
  conditions: readonly string[],
  { p99Ms }: LoadOptions,
): ReportDocument {
  const within = rows.filter(({ figures }) => figures.p99Ms !== undefined && figures.p99Ms <= p99Ms).length;
  return {
    title: 'Load test: open loop',
    summary: [
      `The p99 was within ${p99Ms} ms in ${within} of ${rows.length} lines. Latency counts from the moment a request was due.`,
    ],
    conditions,
    tables: [
      {
        title: 'Latency at a rate',
        header: ['pipeline', 'rate', ...FIGURE_HEADER, 'p99 by block', 'CPU-µs/request'],
        rows: rows.map((row) => [
          row.name,
          rateOf(row),
          ...figureCells(row.figures),
          row.blockP99Ms.map(formatMs).join(' '),
          formatCount(row.cpuMicrosPerRequest),
        ]),
      },
    ],
    plots: plotsOf(rows, p99Ms),
    remarks: [
      ...voidRemarks(rows.map((row) => ({ name: `${row.name} at ${rateOf(row)}`, figures: row.figures }))),
      ...mixtureShares(rows),
      'CPU time is that of the server, all rates of a pipeline together.',
      'The interval of p99 takes answers as independent; where blocks differ by more, believe the blocks.',
    ],
  };
}

function rateOf({ fromRate, toRate }: RateRow): string {
  return fromRate === toRate ? String(fromRate) : `${fromRate} to ${toRate}`;
}

function mixtureShares(rows: readonly RateRow[]): readonly string[] {
  const mixture = rows.find(({ name }) => name === 'mixture' || name === 'unforced');
  if (mixture === undefined) return [];
  const counts = Object.entries(mixture.answersByPipeline);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const shares = counts.map(([name, count]) => `${name} ${((100 * count) / total).toFixed(1)} %`);
  return [`${mixture.name}: ${shares.join(', ')}`];
}

/** A line needs two rates. */
function plotsOf(rows: readonly RateRow[], p99Ms: number): readonly Plot[] {
  const names = [...new Set(rows.map(({ name }) => name))];
  if (new Set(rows.map(({ fromRate }) => fromRate)).size < 2) return [];
  return [
    latencyPlot(
      names.map((name) => ({
        name,
        points: rows
          .filter((row) => row.name === name)
          .map(({ fromRate, figures }) => ({ rate: fromRate, ...figures })),
      })),
      p99Ms,
    ),
  ];
}

interface LatencyLine {
  readonly name: string;
  readonly points: readonly {
    readonly rate: number;
    readonly p50Ms?: number;
    readonly p99Ms?: number;
  }[];
}

/** p50 (dashed) and p99 of every line against the rate. */
export function latencyPlot(lines: readonly LatencyLine[], p99Ms: number): Plot {
  const along = (points: LatencyLine['points'], figure: 'p50Ms' | 'p99Ms'): (readonly [number, number])[] =>
    points
      .toSorted((a, b) => a.rate - b.rate)
      .flatMap((point) => {
        const value = point[figure];
        return value === undefined ? [] : [[point.rate, value] as const];
      });
  return {
    title: 'Latency against rate',
    xLabel: 'requests/s',
    yLabel: 'latency, ms',
    isLogY: true,
    reference: { name: `objective ${p99Ms} ms`, y: p99Ms },
    series: lines.flatMap(({ name, points }, colour) => [
      { name: `${name} p99`, colour, points: along(points, 'p99Ms') },
      { name: `${name} p50`, colour, isDashed: true, points: along(points, 'p50Ms') },
    ]),
  };
}
