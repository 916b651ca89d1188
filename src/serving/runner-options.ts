import { fileURLToPath } from 'node:url';
import { must, type Log, type ServerConfig } from '../core/index.js';
import type { RunnerPoolOptions } from '../runtime/index.js';
import type { OpenBundle } from './bundle.js';

export interface BatchReport {
  readonly runner: string;
  readonly jobs: number;
  readonly rows: number;
  readonly runMs: number;
  /** Time its oldest request waited; 0 for a shadow. */
  readonly queueMs: number;
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

/** Memory that a runner may take, beside what Node takes, and the part of it that is mapped weights. */
export interface RunnerMemory {
  readonly memoryBytes: number;
  readonly mappedBytes: number;
}

/**
 * What a runner of these files of a bundle may take: `runners.openMemoryBytes` beyond the files, which are read into
 * memory, but for weights, which are mapped.
 */
export function runnerMemory(
  { manifest, models }: OpenBundle,
  model: string,
  files: readonly string[],
  openMemoryBytes: number,
): RunnerMemory {
  const fileBytes = files.reduce((sum, one) => sum + must(manifest.files[one], one).bytes, 0);
  const mappedBytes = models.get(model)?.weightBytes ?? 0;
  return { memoryBytes: openMemoryBytes + fileBytes - mappedBytes, mappedBytes };
}

/** How to keep runners of the entry script `entry` of this folder with `spec`. */
export function poolOptions(
  name: string,
  entry: string,
  spec: unknown,
  memory: RunnerMemory,
  options: RunnerOptions,
): RunnerPoolOptions {
  const { hangTimeoutMs, maxCrashesPerMinute, perVariant } = options.runners;
  return {
    name,
    ...runnerEntry(entry),
    ...memory,
    spec,
    startTimeoutMs: START_TIMEOUT_MS,
    hangTimeoutMs,
    maxCrashesPerMinute,
    size: perVariant === 'auto' ? 1 : perVariant,
    log: options.log,
  };
}
