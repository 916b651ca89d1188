import { readProcessStats, type RunnerPoolStatus } from '../runtime/index.js';
import type { RunnerProcess, RunnerStatus } from './types.js';

/** A runner's state and queue as serving knows them. */
interface Observed {
  status(): RunnerPoolStatus & { readonly queued: number };
}

/**
 * State of a runner with what the operating system says of its processes.
 * @param weightDirectory the bundle's folder, without links in its path: what is mapped from it is weights.
 */
export async function runnerStatus(runner: Observed, weightDirectory: string): Promise<RunnerStatus> {
  const status = runner.status();
  const processes = await Promise.all(
    status.processes.map(async (one) => ({
      ...one,
      ...(one.pid === undefined ? {} : await readProcessStats(one.pid, weightDirectory)),
    })),
  );
  return { ...status, ...totals(processes), processes };
}

/** Sums, but for what the processes have in common: there the largest. */
function totals(processes: readonly RunnerProcess[]): Partial<RunnerStatus> {
  const values = (field: keyof RunnerProcess): number[] =>
    processes.map((one) => one[field]).filter((value) => typeof value === 'number');
  const sum = (field: keyof RunnerProcess): number =>
    values(field).reduce((total, value) => total + value, 0);
  const largest = (field: keyof RunnerProcess): number => Math.max(...values(field));
  if (values('privateBytes').length === 0) return {};
  return {
    privateBytes: sum('privateBytes'),
    sharedBytes: largest('sharedBytes'),
    proportionalBytes: sum('proportionalBytes'),
    mappedWeightBytes: largest('mappedWeightBytes'),
    cpuSeconds: sum('cpuSeconds'),
  };
}
