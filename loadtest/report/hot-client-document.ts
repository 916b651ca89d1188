import { voidRemarks } from '../open-loop/blocks.js';
import type { HotClientResult } from '../open-loop/hot-client.js';
import type { ReportDocument } from './document.js';
import { FIGURE_HEADER, figureCells, formatMs } from './figures.js';

/** The document of a run with one hot client. */
export function hotClientDocument(result: HotClientResult, conditions: readonly string[]): ReportDocument {
  const { clients, rate, hotShare, without, with: withHot, hot, p99Ratio } = result;
  const rows = [
    { name: `${clients} clients`, there: 'no', figures: without },
    { name: `${clients} clients`, there: 'yes', figures: withHot },
    { name: 'the hot one', there: 'yes', figures: hot },
  ];
  const change =
    p99Ratio === undefined
      ? 'unknown'
      : `${((p99Ratio - 1) * 100).toFixed(1)} % (${formatMs(without.p99Ms)} to ${formatMs(withHot.p99Ms)} ms)`;
  return {
    title: 'Load test: one hot client',
    summary: [`What the hot client changes in the others' p99: ${change}.`],
    conditions,
    tables: [
      {
        title: 'Clients',
        header: ['whose', 'hot one there', ...FIGURE_HEADER],
        rows: rows.map(({ name, there, figures }) => [name, there, ...figureCells(figures)]),
      },
    ],
    plots: [],
    remarks: [
      ...voidRemarks(rows),
      `${clients} clients send ${(rate * (1 - hotShare)).toFixed(1)} requests/s together in both; the hot one adds ${(rate * hotShare).toFixed(1)}.`,
      'Blocks with and without it took turns in random order.',
    ],
  };
}
