import { fileURLToPath } from 'node:url';
import type { Log, ServerConfig } from '../core/index.js';
import type { SupervisorOptions } from '../runtime/index.js';

export interface BatchReport {
  readonly runner: string;
  readonly jobs: number;
  readonly rows: number;
  readonly runMs: number;
}

/** What all runners of a server share. */
export interface RunnerOptions {
  readonly runners: ServerConfig['runners'];
  readonly log: Log;
  readonly onBatch: (batch: BatchReport) => void;
}

const START_TIMEOUT_MS = 30_000;

/** How to start the entry script `entry` of this folder with `spec`. */
export function supervisorOptions(
  name: string,
  entry: string,
  spec: unknown,
  options: RunnerOptions,
): SupervisorOptions {
  // Tests run the sources, so the runner must too.
  const isSource = import.meta.url.endsWith('.ts');
  return {
    name,
    entry: fileURLToPath(new URL(`./${entry}.${isSource ? 'ts' : 'js'}`, import.meta.url)),
    execArgv: isSource ? ['--import', 'tsx'] : [],
    spec,
    startTimeoutMs: START_TIMEOUT_MS,
    hangTimeoutMs: options.runners.hangTimeoutMs,
    log: options.log,
  };
}
