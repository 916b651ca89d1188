import { createRandom, must, shuffle, type OpenSession } from '../../core/index.js';
import type { Dataset } from '../../data/index.js';
import {
  chooseRankerWeight,
  periodBoundaries,
  trainRanker,
  trainRetriever,
  type HeldOutVisit,
  type RankerShape,
  type TowerShape,
  type TrainedRetriever,
  type TrainingProgress,
  type UserSequence,
  type Weights,
} from '../../training/index.js';
import type { Output } from '../output.js';
import type { Cut } from './protocol.js';

/** What can be chosen about training; see `whittle train --help`. */
export interface TrainSettings {
  readonly seed: number;
  readonly dimensions: number;
  readonly maxLength: number;
  /** Periods of time that are told apart; 1 where time does not matter. */
  readonly periods: number;
  readonly epochs: number;
  readonly rankerExamples: number;
  readonly hidden: readonly number[];
  readonly threads: number;
}

/** Everything that serving a trained recommender needs. */
export interface TrainedModels {
  readonly retriever: TrainedRetriever;
  readonly ranker: Weights;
  /** Share of the ranker's judgement beside the towers' match. */
  readonly rankerWeight: number;
  readonly shape: RankerShape;
  readonly boundaries: readonly number[];
}

/** Places of histories in one step of the towers' training. */
const BATCH_PLACES = 3_200;

/** Trains the towers, then the ranker on what they retrieve. Same data, settings and threads: same weights. */
export async function trainModels(
  dataset: Dataset,
  { train }: Cut,
  settings: TrainSettings,
  openSession: OpenSession,
  output: Output,
): Promise<TrainedModels> {
  const { sequences, visits } = holdOutVisits(userSequences(train), settings.seed);
  const boundaries = periodBoundaries(
    train.timesSeconds.flatMap((times) => [...times]),
    settings.periods,
  );
  const { dimensions, maxLength, threads } = settings;
  const tower: TowerShape = { dimensions, maxLength, blocks: 2, heads: 2, periods: boundaries.length + 1 };
  const random = createRandom(settings.seed);
  const common = { sequences, boundaries, openSession, threads };
  const retriever = await withProgress(output, 'two towers', (onProgress) =>
    trainRetriever({
      ...common,
      texts: itemTexts(dataset),
      shape: tower,
      epochs: settings.epochs,
      batchWindows: Math.ceil(BATCH_PLACES / maxLength),
      learningRate: 3e-3,
      dropout: 0.3,
      labelSmoothing: 0.1,
      maxWords: 512,
      maxClasses: 20_000,
      random: random.fork('retriever'),
      onProgress,
    }),
  );
  const shape: RankerShape = { tower, crossLayers: 2, hidden: settings.hidden };
  const ranker = await withProgress(output, 'ranker', (onProgress) =>
    trainRanker({
      ...common,
      items: dataset.catalogue.ids.length,
      shape,
      retriever,
      examples: settings.rankerExamples,
      batchExamples: 32,
      hardNegatives: 0,
      popularNegatives: 31,
      learningRate: 1e-3,
      dropout: 0.2,
      weightDecay: 0.01,
      random: random.fork('ranker'),
      onProgress,
    }),
  );
  const search = { visits, shape, boundaries, retriever, ranker, openSession };
  const { weight: rankerWeight, ndcgByWeight } = await chooseRankerWeight(search);
  const tried = ndcgByWeight.map(([weight, ndcg]) => `${weight}: ${ndcg.toFixed(4)}`).join(', ');
  output.note(
    `ranker's weight by NDCG@10 on ${visits.length} unseen visits: ${tried}; taken: ${rankerWeight}`,
  );
  return { retriever, ranker, rankerWeight, shape, boundaries };
}

function userSequences(train: Cut['train']): UserSequence[] {
  return train.items.map((items, user) => {
    const visits = train.baskets?.[user];
    return {
      // Item numbers of the models start at 1; 0 pads.
      items: items.map((item) => item + 1),
      timesSeconds: must(train.timesSeconds[user], 'times'),
      ...(visits === undefined ? {} : { visits }),
    };
  });
}

/** Users whose last visit of the training part chooses the ranker's weight, at most. */
const HELD_OUT_USERS = 600;
/** Visits that a user keeps at least. */
const KEPT_VISITS = 2;

/** Takes the last visit of some users, the same for the same seed, out of what is learned from. */
function holdOutVisits(
  all: readonly UserSequence[],
  seed: number,
): { sequences: UserSequence[]; visits: HeldOutVisit[] } {
  const sequences = [...all];
  const visits: HeldOutVisit[] = [];
  for (const user of shuffle(Int32Array.from(all.keys()), createRandom(seed).fork('held out'))) {
    const { items, timesSeconds, visits: numbers } = must(all[user], 'sequence');
    const start =
      numbers === undefined
        ? items.length - 1
        : Array.from(numbers).indexOf(must(numbers[items.length - 1] ?? -1, 'visit'));
    if (start < KEPT_VISITS) continue;
    visits.push({
      history: items.slice(0, start),
      timeSeconds: must(timesSeconds[start], 'time'),
      items: [...items.slice(start)],
    });
    sequences[user] = {
      items: items.slice(0, start),
      timesSeconds: Array.from(timesSeconds).slice(0, start),
      ...(numbers === undefined ? {} : { visits: Array.from(numbers).slice(0, start) }),
    };
    if (visits.length === HELD_OUT_USERS) break;
  }
  return { sequences, visits };
}

/** Title and text columns of each item, joined. */
export function itemTexts({ catalogue }: Dataset): string[] {
  const texts = Object.values(catalogue.columns).filter((column) => !(column instanceof Float64Array));
  return catalogue.titles.map((title, item) =>
    [title, ...texts.map((column) => String(column[item]))].join(' '),
  );
}

async function withProgress<T>(
  output: Output,
  title: string,
  run: (onProgress: (progress: TrainingProgress) => void) => Promise<T>,
): Promise<T> {
  const bar = output.progress(title);
  try {
    return await run(({ step, totalSteps, loss, samplesPerSecond, etaSeconds }) => {
      bar.update(
        step,
        totalSteps,
        `loss ${loss.toFixed(3)}, ${samplesPerSecond.toFixed(0)} samples/s, ${etaSeconds.toFixed(0)} s left`,
      );
    });
  } finally {
    bar.end();
  }
}
