import { WhittleError } from '../src/core/index.js';
import { drawInPasses } from './bodies.js';
import { drive } from './drive.js';
import { describeMachine, loadAverage } from './machine.js';
import { getJson, postJson } from './http-client.js';
import { measurementOf, type Measurement } from './measurement.js';
import type { LoadedEndpoint, LoadOptions } from './options.js';
import { planPhases, type Phase } from './phases.js';
import type { Conditions, Report } from './report.js';
import { prepareRequests, type RequestSource } from './request-source.js';
import { readCounters, readVariants, workBetween, type ServerWork } from './server-counters.js';
import { summarise, type VariantFacts } from './summary.js';
import { pipelinesToLoad, withServer } from './target-server.js';

/** Long enough for the gateway's code to be compiled; it serves all pipelines, so they warm each other. */
const WARM_UP_SECONDS = 2;
const MAX_TOTAL_SECONDS = 3_600;

export interface RunContext {
  /** The command as typed, for the report. */
  readonly command: string;
  /** Takes a line about what is being done. */
  readonly note: (line: string) => void;
  /** Never resolves; its rejection ends the run and the server that it started. */
  readonly interrupted: Promise<never>;
}

/** The server as the phases see it. */
interface TargetServer {
  readonly origin: string;
  readonly pipelines: readonly string[];
}

/** The closed loop: starts or takes the server, runs every phase and answers the report; error responses are in it and do not throw. */
export async function runClosedLoop(options: LoadOptions, context: RunContext): Promise<Report> {
  const pipelines = await pipelinesToLoad(options);
  const phases = planPhases(pipelines, options.rounds);
  const totalSeconds = phases.reduce((sum, phase) => sum + secondsOf(phase, options), 0);
  checkLength(totalSeconds);
  return withServer(options, pipelines, context.interrupted, async (origin) => {
    const load = loadAverage();
    const source = await prepareRequests(origin, closedEndpoint(options), options);
    const server = { origin, pipelines };
    await probe(server, options, source);
    context.note(`${phases.length} phases, about ${totalSeconds} s, against ${origin}`);
    const measurements: Measurement[] = [];
    for (const [place, phase] of phases.entries()) {
      context.note(`${place + 1}/${phases.length} ${phase.kind} ${phase.pipeline ?? ''}`.trimEnd());
      measurements.push(await measure(phase, server, options, source));
    }
    const { variants } = await getJson<{ variants: readonly VariantFacts[] }>(origin, '/v1/variants');
    const rows = summarise(pipelines, measurements, variants);
    return {
      conditions: { ...conditionsOf(options, context, source), loadAverage: load },
      rows,
      measurements,
    };
  });
}

function checkLength(totalSeconds: number): void {
  if (totalSeconds <= MAX_TOTAL_SECONDS) return;
  const allowed = `at most ${MAX_TOTAL_SECONDS} s in all`;
  throw new WhittleError(
    'USAGE_INVALID',
    `These phases take ${totalSeconds} s; allowed is ${allowed}: lower --seconds or --rounds, or name --pipelines`,
    { field: 'seconds', value: totalSeconds, allowed },
  );
}

/** The closed loop has one endpoint, which {@link parseOptions} sees to. */
function closedEndpoint({ mix }: LoadOptions): Exclude<LoadedEndpoint, 'rank'> {
  return mix[0]?.endpoint === 'search' ? 'search' : 'recommend';
}

function secondsOf(phase: Phase, { seconds }: LoadOptions): number {
  return phase.kind === 'warm-up' ? WARM_UP_SECONDS : seconds;
}

function headersOf(pipeline: string | undefined): Record<string, string> {
  return pipeline === undefined ? {} : { 'x-whittle-pipeline': pipeline };
}

/** One request of each kind first: a name that the server does not know is told at once and not as thousands of 404s. */
async function probe(
  { origin, pipelines }: TargetServer,
  options: LoadOptions,
  source: RequestSource,
): Promise<void> {
  const nextBody = drawInPasses(source.bodies, options.seed);
  for (const pipeline of [...pipelines, undefined])
    await postJson(origin, `/v1/${closedEndpoint(options)}`, nextBody(), headersOf(pipeline));
}

async function measure(
  phase: Phase,
  server: TargetServer,
  options: LoadOptions,
  { bodies }: RequestSource,
): Promise<Measurement> {
  const before = await readCounters(server.origin, await readVariants(server.origin));
  const driven = await drive({
    url: `${server.origin}/v1/${closedEndpoint(options)}`,
    headers: headersOf(phase.pipeline),
    nextBody: drawInPasses(bodies, options.seed),
    connections: options.connections,
    seconds: secondsOf(phase, options),
  });
  const drained = await drain(phase, server, options, bodies);
  const work = workBetween(before, await readCounters(server.origin, await readVariants(server.origin)));
  return measurementOf(phase, driven, withoutForced(work, drained));
}

/**
 * The loop ends with requests under way, which the server still serves. Queues are first in, first out: when one more
 * request is answered, those are done, their CPU time is this phase's, and the next phase starts on an idle server.
 * Answers the pipelines that did so.
 */
async function drain(
  phase: Phase,
  { origin, pipelines }: TargetServer,
  options: LoadOptions,
  bodies: readonly string[],
): Promise<readonly string[]> {
  const nextBody = drawInPasses(bodies, options.seed);
  const answered: string[] = [];
  for (const pipeline of phase.pipeline === undefined ? pipelines : [phase.pipeline]) {
    try {
      await postJson(origin, `/v1/${closedEndpoint(options)}`, nextBody(), headersOf(pipeline));
      answered.push(pipeline);
    } catch (thrown) {
      // Refused is as good as answered here: what the queue held is gone either way. A bug of ours is not.
      if (!(thrown instanceof WhittleError)) throw thrown;
    }
  }
  return answered;
}

/** What the arms chose: the requests that drained were forced and would count as shares of the mixture. */
function withoutForced(work: ServerWork, drained: readonly string[]): ServerWork {
  const counts = Object.entries(work.answersByPipeline)
    .map(([name, count]) => [name, count - (drained.includes(name) ? 1 : 0)] as const)
    .filter(([, count]) => count > 0);
  return { ...work, answersByPipeline: Object.fromEntries(counts) };
}

function conditionsOf(
  options: LoadOptions,
  { command }: RunContext,
  { bodies, users, queries }: RequestSource,
): Omit<Conditions, 'loadAverage'> {
  const { url, bundle } = options;
  return {
    command,
    date: new Date().toISOString(),
    ...describeMachine(),
    target: url === undefined ? `server started on ${bundle}` : `running server ${url}`,
    endpoint: closedEndpoint(options),
    connections: options.connections,
    secondsPerPhase: options.seconds,
    rounds: options.rounds,
    warmUpSeconds: WARM_UP_SECONDS,
    bodies: bodies.length,
    users,
    queries,
    seed: options.seed,
    ...(url === undefined ? { shadowShare: options.shadowShare } : {}),
  };
}
