import { fileURLToPath } from 'node:url';
import type { Log, ServerConfig } from '../core/index.js';
import type { RunnerPoolOptions } from '../runtime/index.js';

export interface BatchReport {
  readonly runner: string;
  readonly jobs: number;
  readonly rows: number;
  readonly runMs: number;
}

/** What all runners of a server share. */
export interface RunnerOptions {
  readonly runners: ServerConfig['runners'];
  readonly overload: Pick<ServerConfig['overload'], 'p99Ms' | 'adaptive'>;
  readonly log: Log;
  readonly onBatch: (batch: BatchReport) => void;
}

const START_TIMEOUT_MS = 30_000;

/** How to start the entry script `entry` of this folder. */
export function runnerEntry(entry: string): Pick<RunnerPoolOptions, 'entry' | 'execArgv'> {
  // Tests run the sources, so the runner must too.
  const isSource = import.meta.url.endsWith('.ts');
  return {
    entry: fileURLToPath(new URL(`./${entry}.${isSource ? 'ts' : 'js'}`, import.meta.url)),
    execArgv: isSource ? ['--import', 'tsx'] : [],
  };
}

/** How to keep runners of the entry script `entry` of this folder with `spec`. */
export function poolOptions(
  name: string,
  entry: string,
  spec: unknown,
  options: RunnerOptions,
): RunnerPoolOptions {
  const { hangTimeoutMs, maxCrashesPerMinute, perVariant } = options.runners;
  return {
    name,
    ...runnerEntry(entry),
    spec,
    startTimeoutMs: START_TIMEOUT_MS,
    hangTimeoutMs,
    maxCrashesPerMinute,
    size: perVariant === 'auto' ? 1 : perVariant,
    log: options.log,
  };
}
