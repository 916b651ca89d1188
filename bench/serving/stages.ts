import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { must } from '../../src/core/index.js';
import { rankQuestions } from './bodies.js';
import type { ClosedLoop, ClosedResult } from './generator.js';
import { cpuBetween, runScript, treeCpuSeconds } from './processes.js';
import { stageShares } from './profile.js';
import { withServer } from './server.js';

export interface StageOptions {
  readonly bundle: string;
  readonly pipeline: string;
  readonly path: '/v1/recommend' | '/v1/rank';
  readonly seconds: number;
  readonly connections: number;
}

export interface StageCost {
  readonly stage: string;
  readonly cpuMicrosPerRequest: number;
}

/** Until the gateway's code is compiled. */
const WARM_UP_SECONDS = 15;
const QUESTIONS = 256;

/**
 * CPU time of a request by stage: what the operating system says that each process used, and for the gateway the
 * shares that a sampling profile of it gives.
 */
export async function measureStages(options: StageOptions): Promise<readonly StageCost[]> {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-bench-'));
  try {
    const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`];
    const measured = await withServer(
      options.bundle,
      {},
      async ({ url, pid }) => {
        const questions = join(folder, 'questions.json');
        await writeFile(questions, JSON.stringify(await rankQuestions(url, QUESTIONS, 100)));
        await load(options, url, questions, WARM_UP_SECONDS);
        const [before, fromMicros] = [treeCpuSeconds(pid), monotonicMicros()];
        const names = runnerNames(before.keys(), pid);
        const { answers } = await load(options, url, questions, options.seconds);
        const [after, toMicros] = [treeCpuSeconds(pid), monotonicMicros()];
        const microsOf = (process: number): number =>
          (cpuBetween(pick(before, process), pick(after, process)) * 1e6) / answers;
        return { pid, names, microsOf, fromMicros, toMicros };
      },
      flags,
    );
    const { pid, names, microsOf, fromMicros, toMicros } = measured;
    const profile = must(
      (await readdir(folder)).find((name) => name.endsWith('.cpuprofile')),
      'profile',
    );
    const shares = await stageShares(join(folder, profile), fromMicros, toMicros);
    const gateway = microsOf(pid);
    return (
      [
        ...[...shares].map(([stage, share]) => ({
          stage: `gateway: ${stage}`,
          cpuMicrosPerRequest: share * gateway,
        })),
        ...[...names].map(([process, name]) => ({ stage: name, cpuMicrosPerRequest: microsOf(process) })),
      ]
        // Runners of other pipelines idle.
        .filter(({ cpuMicrosPerRequest }) => cpuMicrosPerRequest >= 1)
        .sort((a, b) => b.cpuMicrosPerRequest - a.cpuMicrosPerRequest)
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function pick(all: ReadonlyMap<number, number>, process: number): ReadonlyMap<number, number> {
  const seconds = all.get(process);
  return new Map(seconds === undefined ? [] : [[process, seconds]]);
}

function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

function load(
  { pipeline, path, connections }: StageOptions,
  url: string,
  questions: string,
  seconds: number,
): Promise<ClosedResult> {
  const loop: ClosedLoop = {
    url,
    path,
    headers: { 'x-whittle-pipeline': pipeline },
    questions,
    ...(path === '/v1/recommend' ? { k: 10 } : {}),
    connections,
    seconds,
  };
  return runScript<ClosedResult>('bench/serving/generator.js', [JSON.stringify(loop)]);
}

/** What each process below the gateway is, by its entry script. */
function runnerNames(pids: Iterable<number>, gateway: number): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const pid of pids) {
    const script = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      .split('\0')
      .find((part) => part.endsWith('.js'));
    if (pid !== gateway) names.set(pid, basename(script ?? String(pid), '.js'));
  }
  return names;
}
