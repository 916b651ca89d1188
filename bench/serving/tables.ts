import { must } from '../../src/core/index.js';
import { markdownTable } from '../../src/evaluation/index.js';
import type { HopRound } from './hop.js';
import type { LoopLag } from './loop-lag.js';
import type { StageCost } from './stages.js';

/** Median with the range of all rounds. */
function spread(values: readonly number[], digits: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (place: number): string => must(sorted[place], 'value').toFixed(digits);
  const last = sorted.length - 1;
  return `${at(Math.floor(last / 2))} [${at(0)}, ${at(last)}]`;
}

/** One line a variant: what a request costs, what the bare loop costs, and their ratio a round. */
export function hopTable(rounds: readonly HopRound[]): string {
  const variants = [...new Set(rounds.map(({ variant }) => variant))];
  const column = (
    header: string,
    digits: number,
    value: (round: HopRound) => number,
  ): { header: string; cell: (variant: string) => string } => ({
    header,
    cell: (variant) => spread(rounds.filter((round) => round.variant === variant).map(value), digits),
  });
  return markdownTable(
    [
      { header: 'variant', cell: (variant) => variant },
      column('requests/s', 0, ({ server }) => server.requestsPerSecond),
      column('requests a run', 1, ({ server }) => server.requestsPerRun),
      column('bare loop, CPU-µs', 0, ({ bare }) => bare.cpuMicrosPerRequest),
      column('in the same batches', 0, ({ bareBatched }) => bareBatched.cpuMicrosPerRequest),
      column('JSON, CPU-µs', 0, ({ server }) => server.cpuMicrosPerRequest),
      column('to bare loop', 2, ({ server, bare }) => server.cpuMicrosPerRequest / bare.cpuMicrosPerRequest),
      column('binary, CPU-µs', 0, ({ binary }) => binary.cpuMicrosPerRequest),
      column('to bare loop', 2, ({ binary, bare }) => binary.cpuMicrosPerRequest / bare.cpuMicrosPerRequest),
      column(
        'binary to the same batches',
        2,
        ({ binary, bareBatched }) => binary.cpuMicrosPerRequest / bareBatched.cpuMicrosPerRequest,
      ),
    ],
    variants,
  );
}

/** CPU time of a request by stage, the dearest first, with their sum. */
export function stageTable(costs: readonly StageCost[]): string {
  const sum = costs.reduce((total, { cpuMicrosPerRequest }) => total + cpuMicrosPerRequest, 0);
  return markdownTable(
    [
      { header: 'stage', cell: ({ stage }) => stage, align: 'left' },
      { header: 'CPU-µs a request', cell: ({ cpuMicrosPerRequest }) => cpuMicrosPerRequest.toFixed(0) },
    ],
    [...costs, { stage: 'all', cpuMicrosPerRequest: sum }],
  );
}

/** How late the gateway's event loop ran. */
export function lagTable(lag: LoopLag): string {
  return markdownTable(
    [
      { header: 'mean run ms', cell: ({ meanRunMs }) => meanRunMs.toFixed(0) },
      { header: 'event loop lag p50 ms', cell: ({ p50Ms }) => p50Ms.toFixed(1) },
      { header: 'p99 ms', cell: ({ p99Ms }) => p99Ms.toFixed(1) },
      { header: 'max ms', cell: ({ maxMs }) => maxMs.toFixed(1) },
      { header: 'answers', cell: ({ answers }) => String(answers) },
    ],
    [lag],
  );
}
