import { createRandom } from '../../src/core/index.js';
import { startGenerator } from '../generator/generator.js';
import { postJson } from '../http-client.js';
import { describeMachine, loadAverage } from '../machine.js';
import type { LoadOptions } from '../options.js';
import type { ReportDocument } from '../report/document.js';
import { findRateDocument } from '../report/find-rate-document.js';
import { hotClientDocument } from '../report/hot-client-document.js';
import { overloadDocument } from '../report/overload-document.js';
import { rateDocument } from '../report/rate-document.js';
import { prepareLoad, type LoadRequests } from '../requests.js';
import type { RunContext } from '../run.js';
import { pipelinesToLoad, withServer } from '../target-server.js';
import { constantRate, runBlock, WARM_UP_SECONDS, type Bench, type Target } from './blocks.js';
import { findRates, type FoundRate } from './find-rate.js';
import { runHotClient } from './hot-client.js';
import { runOverload } from './overload.js';
import { runRates } from './rate-run.js';

/** What a run came to: for people, for programs, and whether the figures stand. */
export interface OpenLoopOutcome {
  readonly document: ReportDocument;
  /** Plain JSON. */
  readonly data: Readonly<Record<string, unknown>>;
  /** A line that says why the exit code must be 1; undefined where all is well. */
  readonly problem?: string;
}

/** Compiled code and filled caches before anything is measured. */
const WARM_UP = { rate: 20, seconds: 1 } as const;

/** Starts or takes the server, starts the generator, and runs what the mode says. */
export async function runOpenLoopTest(options: LoadOptions, context: RunContext): Promise<OpenLoopOutcome> {
  const targets = await targetsOf(options);
  const arms = options.mode === 'rate' && !options.unforced ? namesOf(targets) : [];
  return withServer(options, arms, context.interrupted, async (origin) => {
    const load = loadAverage();
    context.note('Preparing requests');
    const requests = await prepareLoad(origin, options);
    await probe(origin, targets, requests);
    const generator = await startGenerator();
    try {
      const random = createRandom(options.seed).fork('blocks');
      const bench: Bench = { origin, generator, load: requests, options, random, note: context.note };
      await warmUp(bench, targets);
      return await runMode(bench, targets, conditionsOf(options, context, requests, load));
    } finally {
      generator.close();
    }
  });
}

async function targetsOf(options: LoadOptions): Promise<readonly Target[]> {
  const { mode, unforced, pipelines } = options;
  const isOne = mode === 'overload' || mode === 'clients';
  if (unforced || (isOne && pipelines === undefined)) return [{ name: 'unforced' }];
  const forced = (await pipelinesToLoad(options)).map((pipeline): Target => ({ name: pipeline, pipeline }));
  return mode === 'rate' && forced.length > 1 ? [...forced, { name: 'mixture' }] : forced;
}

function namesOf(targets: readonly Target[]): string[] {
  return targets.flatMap(({ pipeline }) => pipeline ?? []);
}

/** One request of each kind first: what the server cannot answer is told at once and not as thousands of failures. */
async function probe(origin: string, targets: readonly Target[], { requests }: LoadRequests): Promise<void> {
  const byPath = new Map(requests.map((request) => [request.path, request.body]));
  for (const { pipeline } of targets) {
    const headers: Record<string, string> = pipeline === undefined ? {} : { 'x-whittle-pipeline': pipeline };
    for (const [path, body] of byPath) await postJson(origin, path, body, headers);
  }
}

async function warmUp(bench: Bench, targets: readonly Target[]): Promise<void> {
  for (const target of targets) {
    bench.note(`warm-up ${target.name}`);
    const segments = [constantRate(WARM_UP.rate, WARM_UP.seconds)];
    await runBlock(bench, { target, segments, limitMs: bench.options.p99Ms });
  }
}

async function runMode(
  bench: Bench,
  targets: readonly Target[],
  conditions: readonly string[],
): Promise<OpenLoopOutcome> {
  const { options } = bench;
  const [first] = targets;
  switch (options.mode) {
    case 'find-rate':
      return foundOutcome(await findRates(bench, targets), conditions, options);
    case 'overload': {
      const result = await runOverload(bench, first ?? { name: 'unforced' });
      if ('probes' in result) return foundOutcome([result], conditions, options);
      return outcome(overloadDocument(result, conditions, options), result);
    }
    case 'clients': {
      const result = await runHotClient(bench, first ?? { name: 'unforced' });
      return outcome(hotClientDocument(result, conditions), result);
    }
    default: {
      const rows = await runRates(bench, targets);
      const made = outcome(rateDocument(rows, conditions, options), { rows });
      const notAnswered = rows.reduce((sum, { figures }) => sum + figures.scheduled - figures.ok, 0);
      return notAnswered === 0
        ? made
        : { ...made, problem: made.problem ?? `${notAnswered} requests were not answered with 2xx` };
    }
  }
}

function foundOutcome(
  found: readonly FoundRate[],
  conditions: readonly string[],
  options: LoadOptions,
): OpenLoopOutcome {
  return outcome(findRateDocument(found, conditions, options), { found });
}

/** A void figure is one that must not be used, so it is no success. */
function outcome(document: ReportDocument, data: object): OpenLoopOutcome {
  const problem = document.remarks.find((remark) => remark.startsWith('VOID'));
  const made = { document, data: { conditions: document.conditions, ...data } };
  return problem === undefined ? made : { ...made, problem };
}

function conditionsOf(
  options: LoadOptions,
  { command }: RunContext,
  { requests, users, queries, topTenthShare }: LoadRequests,
  load: number,
): readonly string[] {
  const { cpu, cores, node } = describeMachine();
  const { url, bundle, mix, arrivals, seconds, rounds, seed, shadowShare, timeoutMs } = options;
  const total = mix.reduce((sum, { share }) => sum + share, 0);
  const shares = mix.map(({ endpoint, share }) => `${endpoint} ${((100 * share) / total).toFixed(0)} %`);
  return [
    `command: \`${command}\``,
    `date: ${new Date().toISOString()}`,
    `machine: ${cpu}, ${cores} logical cores, shared by the server and the load generator; Node ${node}; load average before ${load.toFixed(1)}`,
    `target: ${url === undefined ? `server started on ${bundle}, no answer cache, shadow share ${shadowShare}` : `running server ${url}, cache and shadow as it is configured`}`,
    `load: open loop, ${arrivals} arrivals, ${shares.join(', ')}; blocks of ${seconds} s after ${WARM_UP_SECONDS} s that is not measured; ${rounds} rounds; seed ${seed}; given up after ${timeoutMs} ms`,
    `requests: ${requests.length} bodies of ${users} users and ${queries} queries; users drawn by the events of their histories, so that a tenth of them is ${(100 * topTenthShare).toFixed(0)} % of the traffic`,
  ];
}
