import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rankQuestions } from './bodies.js';
import type { ClosedLoop, ClosedResult } from './generator.js';
import { runScript } from './processes.js';
import { withServer } from './server.js';

export interface LoopLag {
  readonly answers: number;
  readonly meanRunMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Requests that fill a run of about half a second with a ranker of some 50 µs a row. */
const REQUESTS_PER_RUN = 100;
const CANDIDATES = 100;

/**
 * How late the gateway's event loop runs while its runner is inside runs of hundreds of milliseconds: batches of a
 * hundred requests, each of a hundred candidates.
 */
export async function measureLoopLag(bundle: string, pipeline: string, seconds: number): Promise<LoopLag> {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-bench-'));
  const changes = {
    server: { deadlineMs: 60_000 },
    runners: { maxBatchRows: REQUESTS_PER_RUN * CANDIDATES, maxBatchRequests: REQUESTS_PER_RUN },
    overload: { adaptive: false, p99Ms: 60_000 },
  };
  try {
    return await withServer(bundle, changes, async ({ url }) => {
      const questions = join(folder, 'questions.json');
      await writeFile(questions, JSON.stringify(await rankQuestions(url, REQUESTS_PER_RUN, CANDIDATES)));
      const loop: ClosedLoop = {
        url,
        path: '/v1/rank',
        headers: { 'x-whittle-pipeline': pipeline },
        questions,
        connections: 2 * REQUESTS_PER_RUN,
        seconds,
      };
      await figures(url);
      const before = await figures(url);
      const { answers } = await runScript<ClosedResult>('bench/serving/generator.js', [JSON.stringify(loop)]);
      const after = await figures(url);
      return {
        answers,
        // The queue is never empty, so runs follow each other without a pause.
        meanRunMs: (seconds * 1_000) / (after.runs - before.runs),
        p50Ms: after.lagP50Ms,
        p99Ms: after.lagP99Ms,
        maxMs: after.lagMaxMs,
      };
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The event loop's figures are since the scrape before. */
async function figures(
  url: string,
): Promise<{ runs: number; lagP50Ms: number; lagP99Ms: number; lagMaxMs: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const valueOf = (name: string): number =>
    Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN);
  const lag = (part: string): number =>
    valueOf(`whittle_gateway_nodejs_eventloop_lag_${part}_seconds`) * 1_000;
  return {
    runs: valueOf('whittle_batch_jobs_count'),
    lagP50Ms: lag('p50'),
    lagP99Ms: lag('p99'),
    lagMaxMs: lag('max'),
  };
}
