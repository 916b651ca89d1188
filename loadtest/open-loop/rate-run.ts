import type { Segment } from '../generator/schedule.js';
import type { LoadOptions } from '../options.js';
import {
  constantRate,
  inRandomOrder,
  runBlock,
  segmentFigures,
  type Bench,
  type BlockResult,
  type Target,
} from './blocks.js';
import type { Figures } from './figures.js';
import { cpuOf } from './find-rate.js';

/** One line of the table: a target at a rate, or on a ramp. */
export interface RateRow {
  readonly name: string;
  readonly fromRate: number;
  readonly toRate: number;
  readonly figures: Figures;
  /** p99 of each block: what differs between them is the machine, and not chance alone. */
  readonly blockP99Ms: readonly number[];
  readonly cpuMicrosPerRequest?: number;
  /** Answers by pipeline, by the server's count. */
  readonly answersByPipeline: Readonly<Record<string, number>>;
}

const DEFAULT_RATE = 50;

/** Loads every target with the profile of the options, in rounds of random order. */
export async function runRates(bench: Bench, targets: readonly Target[]): Promise<readonly RateRow[]> {
  const { options, random, note } = bench;
  const segments = profileOf(options);
  const blocks: BlockResult[] = [];
  const total = options.rounds * targets.length;
  for (let round = 0; round < options.rounds; round++) {
    for (const target of inRandomOrder(targets, random)) {
      note(`${blocks.length + 1}/${total} ${target.name} ${segments.map(describeSegment).join(', ')}`);
      blocks.push(await runBlock(bench, { target, segments, limitMs: options.p99Ms }));
    }
  }
  return targets.flatMap(({ name }) =>
    rowsOf(
      name,
      blocks.filter(({ target }) => target.name === name),
    ),
  );
}

/** The segments that the options ask for. */
function profileOf({ rate, ramp, steps, seconds }: LoadOptions): readonly Segment[] {
  if (ramp !== undefined) return [{ fromRate: ramp[0], toRate: ramp[1], seconds }];
  return (steps ?? [rate ?? DEFAULT_RATE]).map((step) => constantRate(step, seconds));
}

function describeSegment({ fromRate, toRate, seconds }: Segment): string {
  return `${fromRate === toRate ? fromRate : `${fromRate} to ${toRate}`}/s for ${seconds} s`;
}

function rowsOf(name: string, blocks: readonly BlockResult[]): readonly RateRow[] {
  const answersByPipeline: Record<string, number> = {};
  for (const [pipeline, count] of blocks.flatMap(({ server }) => Object.entries(server.answersByPipeline)))
    answersByPipeline[pipeline] = (answersByPipeline[pipeline] ?? 0) + count;
  return (blocks[0]?.segments ?? []).map(({ fromRate, toRate }, place) => ({
    name,
    fromRate,
    toRate,
    figures: segmentFigures(blocks, place),
    blockP99Ms: blocks.flatMap((block) => segmentFigures([block], place).p99Ms ?? []),
    ...cpuOf(blocks),
    answersByPipeline,
  }));
}
