import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRandom, must, shuffle } from '../../src/core/index.js';
import type { BareLoop, BareResult } from './bare-loop.js';
import { rankQuestions } from './bodies.js';
import type { ClosedLoop, ClosedResult } from './generator.js';
import { cpuBetween, runScript, startScript, stop, treeCpuSeconds } from './processes.js';
import { withServer, type BenchServer } from './server.js';

export interface HopOptions {
  readonly bundle: string;
  readonly variants: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  readonly candidates: number;
  readonly seed: number;
  note(line: string): void;
}

export interface ServedBlock extends ClosedResult {
  readonly cpuMicrosPerRequest: number;
  readonly requestsPerRun: number;
}

/**
 * One round of one variant: the server with bodies in JSON and in binary, then the bare loop with one request a run and
 * with the server's batches.
 */
export interface HopRound {
  readonly variant: string;
  readonly server: ServedBlock;
  readonly binary: ServedBlock;
  readonly bare: BareResult;
  readonly bareBatched: BareResult;
}

const QUESTIONS = 256;
/** Until the gateway's code is compiled, which takes some thousands of requests; the last variant is the fastest. */
const WARM_UP_SECONDS = 20;
const VARIANT_WARM_UP_SECONDS = 3;

/** Measures the CPU time of a request at `/v1/rank` beside that of a bare loop of `run`, in turn. */
export async function measureHop(options: HopOptions): Promise<readonly HopRound[]> {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-bench-'));
  const echo = await startScript<{ url: string }>('bench/serving/echo.js', []);
  try {
    return await withServer(options.bundle, {}, async (server) => {
      const questions = join(folder, 'questions.json');
      await writeFile(
        questions,
        JSON.stringify(await rankQuestions(server.url, QUESTIONS, options.candidates)),
      );
      return await rounds(options, server, echo.ready.url, questions);
    });
  } finally {
    await stop(echo.child);
    await rm(folder, { recursive: true, force: true });
  }
}

async function rounds(
  options: HopOptions,
  server: BenchServer,
  echoUrl: string,
  questions: string,
): Promise<HopRound[]> {
  const random = createRandom(options.seed);
  const load = (url: string, variant: string, seconds: number, binaryOf?: string): Promise<ClosedResult> =>
    runScript<ClosedResult>('bench/serving/generator.js', [
      JSON.stringify({
        url,
        path: '/v1/rank',
        headers: { 'x-whittle-pipeline': variant },
        questions,
        connections: options.connections,
        seconds,
        ...(binaryOf === undefined ? {} : { binaryOf }),
      } satisfies ClosedLoop),
    ]);
  const bare = async (variant: string, requestsPerRun: number): Promise<BareResult> => {
    const { bundle, seconds } = options;
    const loop: BareLoop = { bundle, variant, questions, requestsPerRun, seconds };
    // The other core is as busy as while the server is measured.
    const [result] = await Promise.all([
      runScript<BareResult>('bench/serving/bare-loop.js', [JSON.stringify(loop)]),
      load(echoUrl, variant, seconds + 1),
    ]);
    return result;
  };
  const done: HopRound[] = [];
  await load(server.url, must(options.variants.at(-1), 'variant'), WARM_UP_SECONDS);
  for (const variant of options.variants) await load(server.url, variant, VARIANT_WARM_UP_SECONDS);
  for (let round = 0; round < options.rounds; round++) {
    for (const place of shuffle(Array.from(options.variants.keys()), random)) {
      const variant = must(options.variants[place], 'variant');
      const served = await serve(server, variant, () => load(server.url, variant, options.seconds));
      const binary = await serve(server, variant, () =>
        load(server.url, variant, options.seconds, options.bundle),
      );
      const alone = await bare(variant, 1);
      const batched = await bare(variant, Math.max(1, Math.round(served.requestsPerRun)));
      done.push({ variant, server: served, binary, bare: alone, bareBatched: batched });
      options.note(
        `${round + 1}/${options.rounds} ${variant}: ${served.cpuMicrosPerRequest.toFixed(0)} CPU-µs a request (binary ${binary.cpuMicrosPerRequest.toFixed(0)}), ${served.requestsPerRun.toFixed(1)} a run; bare ${alone.cpuMicrosPerRequest.toFixed(0)}, batched ${batched.cpuMicrosPerRequest.toFixed(0)}`,
      );
    }
  }
  return done;
}

async function serve(
  server: BenchServer,
  variant: string,
  load: () => Promise<ClosedResult>,
): Promise<ServedBlock> {
  const batchesBefore = await batches(server.url);
  const cpuBefore = treeCpuSeconds(server.pid);
  const result = await load();
  const cpuSeconds = cpuBetween(cpuBefore, treeCpuSeconds(server.pid));
  const batchesAfter = await batches(server.url);
  if (result.failures > 0) throw new Error(`${result.failures} requests to ${variant} failed`);
  return {
    ...result,
    cpuMicrosPerRequest: (cpuSeconds * 1e6) / result.answers,
    requestsPerRun: (batchesAfter.jobs - batchesBefore.jobs) / (batchesAfter.runs - batchesBefore.runs),
  };
}

/** Runs so far and the requests in them; `/v1/rank` has no others than the ranker's. */
async function batches(url: string): Promise<{ jobs: number; runs: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const valueOf = (name: string): number =>
    Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  return { jobs: valueOf('whittle_batch_jobs_sum'), runs: valueOf('whittle_batch_jobs_count') };
}
