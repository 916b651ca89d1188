import type { SecondResult } from '../generator/plan.js';
import { voidRemarks } from '../open-loop/blocks.js';
import type { OverloadResult } from '../open-loop/overload.js';
import type { LoadOptions } from '../options.js';
import type { ReportDocument } from './document.js';
import { FIGURE_HEADER, figureCells, formatMs, formatRate, formatShare } from './figures.js';
import type { Plot } from './line-plot.js';

/** The document of an overload. */
export function overloadDocument(
  result: OverloadResult,
  conditions: readonly string[],
  { p99Ms, seconds }: LoadOptions,
): ReportDocument {
  const { peak, overload, after, peakRate, times } = result;
  const phases = [
    { name: 'peak', figures: peak, rate: peakRate },
    { name: `${times} × peak`, figures: overload, rate: times * peakRate },
    { name: 'half of peak', figures: after, rate: peakRate / 2 },
  ];
  return {
    title: `Load test: ${times} times the peak`,
    summary: [
      `Goodput under overload: ${formatShare(result.goodputShare)} of the peak's; p99 of what was accepted: ${formatMs(overload.p99Ms)} ms (objective ${p99Ms} ms); recovery: ${result.recoverySeconds === undefined ? 'none' : `within ${result.recoverySeconds} s`}.`,
    ],
    conditions,
    tables: [
      {
        title: 'Phases',
        header: ['phase', 'rate', ...FIGURE_HEADER, 'goodput/s', 'refused p99 ms', 'Retry-After', 'statuses'],
        rows: phases.map(({ name, figures, rate }) => [
          name,
          formatRate(rate),
          ...figureCells(figures),
          formatRate(figures.goodputPerSecond),
          formatMs(figures.refusedP99Ms),
          figures.refused === 0 ? '–' : formatShare(figures.refusedWithRetryAfter / figures.refused),
          statuses(figures.statuses),
        ]),
      },
    ],
    plots: plotsOf(result, p99Ms, seconds),
    remarks: [
      ...voidRemarks(phases),
      `Goodput: answers with 2xx within ${2 * p99Ms} ms (twice the objective) of the moment they were due.`,
      'Refused: answered 429 or 503; Retry-After is the share of them that carried that header.',
      'Recovery: end of the first second after the overload whose p99 is within the objective and of which at most 1 % failed or was refused.',
    ],
  };
}

function statuses(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([status, count]) => `${status}: ${count}`)
    .join(' ');
}

function plotsOf(
  { target, seconds: all, times }: OverloadResult,
  p99Ms: number,
  seconds: number,
): readonly Plot[] {
  const bands = [{ name: `${times} × peak`, from: seconds, to: 2 * seconds }];
  const counted = (count: (one: SecondResult) => number): (readonly [number, number])[] =>
    all.map((one, place) => [place + 0.5, count(one)]);
  const p99 = all.flatMap(({ p99Micros }, place) =>
    p99Micros === undefined ? [] : [[place + 0.5, p99Micros / 1000] as const],
  );
  const traffic: Plot = {
    title: `Requests by the second they were due (${target})`,
    xLabel: 'seconds',
    yLabel: 'requests/s',
    isLogY: false,
    bands,
    series: [
      { name: 'offered', colour: 5, isDashed: true, points: counted(({ scheduled }) => scheduled) },
      { name: 'goodput', colour: 0, points: counted(({ okWithinLimit }) => okWithinLimit) },
      { name: 'refused', colour: 1, points: counted(({ refused }) => refused) },
      { name: 'failed', colour: 3, points: counted(({ failed }) => failed) },
    ],
  };
  if (p99.length === 0) return [traffic];
  const latency: Plot = {
    title: 'p99 of what was accepted',
    xLabel: 'seconds',
    yLabel: 'latency, ms',
    isLogY: true,
    bands,
    reference: { name: `objective ${p99Ms} ms`, y: p99Ms },
    series: [{ name: 'p99', colour: 0, points: p99 }],
  };
  return [traffic, latency];
}
