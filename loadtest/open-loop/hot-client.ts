import { must } from '../../src/core/index.js';
import type { TrafficClass } from '../generator/plan.js';
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

/** What one hot client does to the others. */
export interface HotClientResult {
  readonly target: string;
  readonly clients: number;
  readonly rate: number;
  readonly hotShare: number;
  /** The others, with the hot client away. */
  readonly without: Figures;
  /** The others, at the same rate, with the hot client there. */
  readonly with: Figures;
  readonly hot: Figures;
  /** The others' p99 with the hot client divided by that without; absent where either has no answer. */
  readonly p99Ratio?: number;
}

const DEFAULT_RATE = 50;
const HOT = 'hot';

/** Loads the others alone and with the hot client in blocks of random order; the others' rate is the same in both. */
export async function runHotClient(bench: Bench, target: Target): Promise<HotClientResult> {
  const { options, random, note } = bench;
  const { seconds, rounds, p99Ms, hotClient: hotShare } = options;
  const rate = options.rate ?? DEFAULT_RATE;
  const clients = must(options.clients, 'clients');
  const blocks: { readonly isHot: boolean; readonly block: BlockResult }[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const isHot of inRandomOrder([false, true], random)) {
      note(
        `${blocks.length + 1}/${2 * rounds} ${clients} clients${isHot ? ' and the hot one' : ''} for ${seconds} s`,
      );
      const block = await runBlock(bench, {
        target,
        segments: [constantRate(isHot ? rate : rate * (1 - hotShare), seconds)],
        classes: classesOf(options.clientHeader, clients, isHot ? hotShare : 0),
        limitMs: p99Ms,
      });
      blocks.push({ isHot, block });
    }
  }
  const of = (isHot: boolean): BlockResult[] =>
    blocks.filter((one) => one.isHot === isHot).map(({ block }) => block);
  const without = segmentFigures(of(false), 0, (name) => name !== HOT);
  const withHot = segmentFigures(of(true), 0, (name) => name !== HOT);
  const hot = segmentFigures(of(true), 0, (name) => name === HOT);
  return {
    target: target.name,
    clients,
    rate,
    hotShare,
    without,
    with: withHot,
    hot,
    ...ratioOf(withHot, without),
  };
}

/** The others in equal parts, and the hot one where it has a share; each names itself in the header. */
export function classesOf(header: string, clients: number, hotShare: number): readonly TrafficClass[] {
  const others = Array.from({ length: clients }, (_, place): TrafficClass => ({
    name: `client-${place + 1}`,
    headers: { [header]: `client-${place + 1}` },
    weight: (1 - hotShare) / clients,
  }));
  if (hotShare === 0) return others;
  return [...others, { name: HOT, headers: { [header]: HOT }, weight: hotShare }];
}

function ratioOf(withHot: Figures, without: Figures): { p99Ratio?: number } {
  const [high, low] = [withHot.p99Ms, without.p99Ms];
  return high === undefined || low === undefined ? {} : { p99Ratio: high / low };
}
