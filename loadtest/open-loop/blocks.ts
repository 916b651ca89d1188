import { must, shuffle, type Random } from '../../src/core/index.js';
import type { Generator } from '../generator/generator.js';
import type { GroupResult, LoadPlan, LoadResult, SecondResult, TrafficClass } from '../generator/plan.js';
import type { Segment } from '../generator/schedule.js';
import type { LoadOptions } from '../options.js';
import { readCounters, workBetween, type ServerWork } from '../server-counters.js';
import type { LoadRequests } from '../requests.js';
import { figuresOf, voidReason, type Figures } from './figures.js';

/** A server under load, and what loads it. */
export interface Bench {
  readonly origin: string;
  readonly generator: Generator;
  readonly load: LoadRequests;
  readonly options: LoadOptions;
  readonly random: Random;
  /** Takes a line about what is being done. */
  readonly note: (line: string) => void;
}

/** What is loaded: a pipeline that is forced, or what the server chooses. */
export interface Target {
  readonly name: string;
  readonly pipeline?: string;
}

/** One exclusive stretch of load on one target. */
export interface Block {
  readonly target: Target;
  /** Measured apart, one after the other. */
  readonly segments: readonly Segment[];
  readonly classes?: readonly TrafficClass[];
  /** Time from the schedule within which an answer counts as goodput. */
  readonly limitMs: number;
}

export interface BlockResult {
  readonly target: Target;
  readonly segments: readonly Segment[];
  readonly load: LoadResult;
  /** What the server counted meanwhile, the warm-up included. */
  readonly server: ServerWork;
}

/** Load before the first segment of every block, not measured: queues, caches and limits settle to the rate. */
export const WARM_UP_SECONDS = 1;
const PROGRESS_SECONDS = 5;

/** Runs a block. Settles when every request was answered or given up, so the next block meets an idle server. */
export async function runBlock(bench: Bench, block: Block): Promise<BlockResult> {
  const before = await readCounters(bench.origin);
  let second = 0;
  const load = await bench.generator.run(planOf(bench, block), ({ scheduled, sent, answered }) => {
    second += 1;
    if (second % PROGRESS_SECONDS === 0)
      bench.note(`  ${second} s: sent ${sent} of ${scheduled}, answered ${answered}`);
  });
  const server = workBetween(before, await readCounters(bench.origin));
  return { target: block.target, segments: block.segments, load: withoutWarmUp(load), server };
}

/** The figures of a segment (by its place) over blocks, of all classes or those that `isWanted`. */
export function segmentFigures(
  blocks: readonly BlockResult[],
  segment: number,
  isWanted: (trafficClass: string) => boolean = () => true,
): Figures {
  const groups = blocks.flatMap(({ load }) =>
    load.groups.filter((group) => group.segment === segment && isWanted(group.class)),
  );
  const seconds = blocks.reduce((sum, { segments }) => sum + must(segments[segment], 'segment').seconds, 0);
  const notSent = blocks.reduce((sum, { load }) => sum + load.notSent, 0);
  return figuresOf(groups, seconds, notSent);
}

/** Answers a segment of one rate. */
export function constantRate(rate: number, seconds: number): Segment {
  return { fromRate: rate, toRate: rate, seconds };
}

/** The same values in an order that `random` decides. */
export function inRandomOrder<T>(values: readonly T[], random: Random): readonly T[] {
  const order = shuffle(Array.from(values.keys()), random);
  return order.map((place) => must(values[place], 'value'));
}

/** Which segments of which targets are void, and why. */
export function voidRemarks(
  rows: readonly { readonly name: string; readonly figures: Figures }[],
): readonly string[] {
  return rows.flatMap(({ name, figures }) => {
    const reason = voidReason(figures);
    return reason === undefined ? [] : [`VOID: ${name}: ${reason}.`];
  });
}

function planOf(
  { origin, load, options, random }: Bench,
  { target, segments, classes, limitMs }: Block,
): LoadPlan {
  const { hostname, port } = new URL(origin);
  const forced = target.pipeline === undefined ? {} : { 'x-whittle-pipeline': target.pipeline };
  const all = classes ?? [{ name: 'all', headers: {}, weight: 1 }];
  return {
    host: hostname,
    port: port === '' ? 80 : Number(port),
    segments: [constantRate(must(segments[0], 'segment').fromRate, WARM_UP_SECONDS), ...segments],
    arrivals: options.arrivals,
    seed: random.integer(2 ** 31),
    requests: load.requests,
    classes: all.map((one) => ({ ...one, headers: { ...one.headers, ...forced } })),
    timeoutMs: options.timeoutMs,
    limitMs,
  };
}

function withoutWarmUp(load: LoadResult): LoadResult {
  const measured = (group: GroupResult): GroupResult => ({ ...group, segment: group.segment - 1 });
  const seconds: readonly SecondResult[] = load.seconds.slice(WARM_UP_SECONDS);
  return { ...load, groups: load.groups.filter(({ segment }) => segment > 0).map(measured), seconds };
}
