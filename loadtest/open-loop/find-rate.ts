import { must } from '../../src/core/index.js';
import {
  constantRate,
  inRandomOrder,
  runBlock,
  segmentFigures,
  type Bench,
  type BlockResult,
  type Target,
} from './blocks.js';
import { failedShare, voidReason, type Figures } from './figures.js';
import { RateSearch, type Purpose, type SearchResult } from './rate-search.js';

/** What one block of a search measured. */
export interface ProbeResult {
  readonly rate: number;
  readonly purpose: Purpose;
  readonly figures: Figures;
  readonly held: boolean;
  /** The generator was late: the search did not use it. */
  readonly isVoid: boolean;
}

/** The search of one target. */
export interface FoundRate extends SearchResult {
  readonly name: string;
  readonly probes: readonly ProbeResult[];
  /** All blocks at the found rate that confirmed it, together. */
  readonly figures?: Figures;
  /** p99 of each of those blocks. */
  readonly blockP99Ms: readonly number[];
  /** CPU time of the server's processes by request answered, in those blocks. */
  readonly cpuMicrosPerRequest?: number;
  /** Why the search was given up: the generator could not keep its schedule. */
  readonly voidReason?: string;
}

/** Where a search begins. */
const START_RATE = 50;
const MAX_FAILED_SHARE = 0.001;

interface Search {
  readonly target: Target;
  readonly rates: RateSearch<BlockResult>;
  readonly blocks: { readonly block: BlockResult; readonly probe: ProbeResult }[];
  voidReason?: string;
}

/** The p99 is within the objective, and at most 0.1 % of the requests failed or were refused. */
export function holdsObjective(figures: Figures, p99Ms: number): boolean {
  const { p99Ms: measured } = figures;
  return measured !== undefined && measured <= p99Ms && failedShare(figures) <= MAX_FAILED_SHARE;
}

/**
 * Finds the highest rate of every target whose p99 holds the objective. Targets take turns, block by block, in an order
 * that is drawn anew each time (switchback): a machine that drifts favours none of them.
 */
export async function findRates(bench: Bench, targets: readonly Target[]): Promise<readonly FoundRate[]> {
  const { p99Ms, rounds, rate } = bench.options;
  const holds = (blocks: readonly BlockResult[]): boolean => holdsObjective(segmentFigures(blocks, 0), p99Ms);
  const searches = targets.map((target): Search => ({
    target,
    rates: new RateSearch(rate ?? START_RATE, rounds, holds),
    blocks: [],
  }));
  const isOpen = ({ rates, voidReason: reason }: Search): boolean =>
    rates.result === undefined && reason === undefined;
  while (searches.some(isOpen)) {
    for (const search of inRandomOrder(searches.filter(isOpen), bench.random)) await runProbe(bench, search);
  }
  return searches.map(foundRate);
}

/** A block whose generator was late is run once more before the search is given up. */
async function runProbe(bench: Bench, search: Search): Promise<void> {
  const { seconds, p99Ms } = bench.options;
  const { rate, purpose } = search.rates.next();
  let reason: string | undefined;
  for (let attempt = 0; attempt < 2; attempt++) {
    bench.note(`${search.target.name}: ${purpose} at ${rate.toFixed(1)}/s for ${seconds} s`);
    const block = await runBlock(bench, {
      target: search.target,
      segments: [constantRate(rate, seconds)],
      limitMs: p99Ms,
    });
    const figures = segmentFigures([block], 0);
    const held = holdsObjective(figures, p99Ms);
    bench.note(`  ${describe(figures)}: ${held ? 'holds' : 'does not hold'}`);
    reason = voidReason(figures);
    search.blocks.push({ block, probe: { rate, purpose, figures, held, isVoid: reason !== undefined } });
    if (reason === undefined) {
      search.rates.take(block);
      return;
    }
    bench.note(`  VOID: ${reason}`);
  }
  search.voidReason = `at ${rate.toFixed(1)}/s twice ${must(reason, 'reason')}`;
}

function describe(figures: Figures): string {
  const p99 = figures.p99Ms === undefined ? 'no answer' : `p99 ${figures.p99Ms.toFixed(2)} ms`;
  return `${p99}, ${(100 * failedShare(figures)).toFixed(2)} % failed of ${figures.scheduled}`;
}

function foundRate({ target, rates, blocks, voidReason: reason }: Search): FoundRate {
  const result = rates.result ?? { isLimit: false };
  const confirming = blocks.filter(
    ({ probe }) => probe.purpose === 'confirm' && probe.rate === result.rate && !probe.isVoid,
  );
  const confirmed = confirming.map(({ block }) => block);
  return {
    name: target.name,
    ...result,
    probes: blocks.map(({ probe }) => probe),
    ...(confirmed.length === 0 ? {} : { figures: segmentFigures(confirmed, 0) }),
    blockP99Ms: confirming.flatMap(({ probe }) => probe.figures.p99Ms ?? []),
    ...cpuOf(confirmed),
    ...(reason === undefined ? {} : { voidReason: reason }),
  };
}

/** CPU time by answer over blocks; absent where a runner was replaced in one of them. */
export function cpuOf(blocks: readonly BlockResult[]): { cpuMicrosPerRequest?: number } {
  const answers = blocks.reduce((sum, { server }) => sum + server.answers, 0);
  const seconds = blocks.map(({ server }) => server.cpuSeconds);
  if (answers === 0 || seconds.some((one) => one === undefined)) return {};
  const total = seconds.reduce<number>((sum, one) => sum + (one ?? 0), 0);
  return { cpuMicrosPerRequest: (total * 1e6) / answers };
}
