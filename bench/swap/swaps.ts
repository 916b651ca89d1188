import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { must } from '../../src/core/index.js';
import { LatencyHistogram } from '../../src/statistics/index.js';
import { treeCpuSeconds } from '../serving/processes.js';
import type { BenchServer } from '../serving/server.js';
import { ConstantLoad } from './constant-load.js';
import type { Versions } from './versions.js';

export interface SwapFigures {
  readonly swaps: number;
  readonly answers: number;
  /** What each failed request met. */
  readonly failures: readonly string[];
  /** Answers that are neither version's. */
  readonly mixed: number;
  /** p50, p99 and p99.9 of all answers, from when they were due; the same without swaps. */
  readonly latency: readonly number[];
  readonly idleLatency: readonly number[];
  /** Median and longest time from the signal to the first answer of the new version. */
  readonly swapMs: readonly number[];
  /** Fewest and most processes of the server after a swap. */
  readonly processes: readonly number[];
  /** Mean proportional memory of the server's processes after the first and after the last tenth of the swaps. */
  readonly memory: readonly number[];
}

export interface SwapOptions {
  readonly swaps: number;
  readonly ratePerSecond: number;
  /** Told of progress. */
  readonly note: (line: string) => void;
}

const IDLE_MS = 5_000;
const POLL_MS = 5;
const SWAP_LIMIT_MS = 60_000;

/** Swaps under load, each as soon as the one before is done and its old processes are gone. */
export async function runSwaps(
  { url, pid }: BenchServer,
  versions: Versions,
  { swaps, ratePerSecond, note }: SwapOptions,
): Promise<SwapFigures> {
  const load = new ConstantLoad(url, versions.pipeline, ratePerSecond);
  await load.learn();
  await swapTo(versions, 1, pid, () => load.learn());
  load.start();
  await delay(IDLE_MS);
  const idleLatency = quantiles(load.restartLatency());
  const swapMs: number[] = [];
  const processes: number[] = [];
  const memory: number[] = [];
  for (let swap = 0; swap < swaps; swap++) {
    const before = load.answersOf(swap % 2);
    swapMs.push(await swapTo(versions, swap % 2, pid, () => load.answersOf(swap % 2) > before));
    await until(() => treeCpuSeconds(pid).size <= versions.runners + 1);
    processes.push(treeCpuSeconds(pid).size);
    memory.push(proportionalBytes(pid));
    note(`${swap + 1} of ${swaps} swaps, ${load.answers} answers, ${load.failures.length} failed`);
  }
  await load.stop();
  const tenth = Math.max(1, Math.floor(swaps / 10));
  return {
    swaps,
    answers: load.answers,
    failures: load.failures,
    mixed: load.mixed,
    latency: quantiles(load.restartLatency()),
    idleLatency,
    swapMs: [must([...swapMs].sort((a, b) => a - b)[Math.floor(swaps / 2)], 'swap'), Math.max(...swapMs)],
    processes: [Math.min(...processes), Math.max(...processes)],
    memory: [mean(memory.slice(0, tenth)), mean(memory.slice(-tenth))],
  };
}

/** @param arrived true when the version has answered. */
async function swapTo(
  versions: Versions,
  version: number,
  pid: number,
  arrived: () => boolean | Promise<boolean>,
): Promise<number> {
  await versions.deploy(version);
  const startedAt = performance.now();
  process.kill(pid, 'SIGHUP');
  await until(arrived);
  return performance.now() - startedAt;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + SWAP_LIMIT_MS;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error('The server did not change to the new version');
    await delay(POLL_MS);
  }
}

/** Private memory of the server's processes and their share of what they share. */
function proportionalBytes(root: number): number {
  let bytes = 0;
  for (const pid of treeCpuSeconds(root).keys()) {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    bytes += Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1]) * 1024;
  }
  return bytes;
}

function quantiles(histogram: LatencyHistogram): number[] {
  return [0.5, 0.99, 0.999].map((probability) => histogram.quantile(probability));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
