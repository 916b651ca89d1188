import type { FoundRate, ProbeResult } from '../open-loop/find-rate.js';
import { failedShare } from '../open-loop/figures.js';
import type { LoadOptions } from '../options.js';
import type { ReportDocument, ReportTable } from './document.js';
import { FIGURE_HEADER, figureCells, formatCount, formatMs, formatRate, formatShare } from './figures.js';
import { latencyPlot } from './rate-document.js';

/** The document of a search for the highest rates. */
export function findRateDocument(
  found: readonly FoundRate[],
  conditions: readonly string[],
  { p99Ms }: LoadOptions,
): ReportDocument {
  return {
    title: `Load test: highest rate with p99 within ${p99Ms} ms`,
    summary: [`${found.map(sentence).join('; ')}.`],
    conditions,
    tables: [resultTable(found), ...probesTable(found)],
    plots: plotsOf(found, p99Ms),
    remarks: [
      ...found.flatMap(({ name, voidReason }) =>
        voidReason === undefined ? [] : [`VOID: ${name}: ${voidReason}.`],
      ),
      `A rate holds where p99 is within ${p99Ms} ms and at most 0.1 % failed. The found one is known to 3 %, or to as much as it was lowered to be confirmed, and held again in all blocks of "p99 by block" together; the figures are those blocks'.`,
      'Pipelines took turns, block by block, in an order drawn anew for each turn.',
      'The interval of p99 takes answers as independent; where blocks differ by more, believe the blocks.',
    ],
  };
}

function sentence({ name, rate, isLimit, voidReason }: FoundRate): string {
  if (voidReason !== undefined) return `${name}: void`;
  if (rate === undefined) return `${name}: no rate holds`;
  return `${name}: ${isLimit ? 'at least ' : ''}${formatRate(rate)} requests/s`;
}

function resultTable(found: readonly FoundRate[]): ReportTable {
  return {
    title: 'Highest rates',
    header: ['pipeline', 'requests/s', ...FIGURE_HEADER, 'p99 by block', 'CPU-µs/request'],
    rows: found.map((one) => [
      one.name,
      one.voidReason === undefined ? formatRate(one.rate) : 'VOID',
      ...(one.figures === undefined ? FIGURE_HEADER.map(() => '–') : figureCells(one.figures)),
      one.blockP99Ms.map(formatMs).join(' '),
      formatCount(one.cpuMicrosPerRequest),
    ]),
  };
}

function probesTable(found: readonly FoundRate[]): readonly ReportTable[] {
  return found.map(({ name, probes }) => ({
    title: `Blocks of ${name}`,
    header: ['for', 'result', 'requests/s', 'p50 ms', 'p99 ms', 'failed', 'answers', 'lag p99 ms'],
    rows: probes.map(({ purpose, held, isVoid, rate, figures }) => [
      purpose,
      `${held ? 'holds' : 'does not hold'}${isVoid ? ', VOID' : ''}`,
      formatRate(rate),
      formatMs(figures.p50Ms),
      formatMs(figures.p99Ms),
      formatShare(failedShare(figures)),
      String(figures.ok),
      formatMs(figures.lagP99Ms),
    ]),
  }));
}

function plotsOf(found: readonly FoundRate[], p99Ms: number): ReportDocument['plots'] {
  const lines = found.map(({ name, probes }) => ({
    name,
    points: probes.filter(({ isVoid }) => !isVoid).map(pointOf),
  }));
  return lines.some(({ points }) => points.some(({ p99Ms: measured }) => measured !== undefined))
    ? [latencyPlot(lines, p99Ms)]
    : [];
}

function pointOf({ rate, figures: { p50Ms, p99Ms } }: ProbeResult): {
  rate: number;
  p50Ms?: number;
  p99Ms?: number;
} {
  return {
    rate,
    ...(p50Ms === undefined ? {} : { p50Ms }),
    ...(p99Ms === undefined ? {} : { p99Ms }),
  };
}
