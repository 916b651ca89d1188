import {
  float32,
  int64,
  must,
  WhittleError,
  type OpenSession,
  type Random,
  type Session,
  type TensorMap,
} from '../core/index.js';
import { encodeModel, GraphBuilder } from '../onnx/index.js';
import { ParameterSet, type Weights } from './architectures/parameter-set.js';
import { rankerParts, type RankerShape } from './architectures/ranker.js';
import { dropoutMask } from './dropout-kernel.js';
import { periodOf } from './periods.js';
import { itemCounts, PopularitySampler } from './popularity-sampler.js';
import { ProgressReporter, type TrainingProgress } from './progress.js';
import { buildRetrievalModel } from './retrieval-model.js';
import { addItemTable } from './serving-models.js';
import { drawExamples, type RankExample } from './rank-examples.js';
import type { TrainedRetriever } from './train-retriever.js';
import { Trainer } from './trainer.js';
import type { UserSequence } from './windows.js';

export interface RankerTraining {
  readonly sequences: readonly UserSequence[];
  /** Items of the catalogue. */
  readonly items: number;
  readonly shape: RankerShape;
  readonly boundaries: readonly number[];
  /** The towers, which stay as they are. */
  readonly retriever: TrainedRetriever;
  /** Decisions learned from, over all epochs. */
  readonly examples: number;
  readonly batchExamples: number;
  /** Items each decision is compared with: some that retrieval brings, and some drawn by popularity. */
  readonly hardNegatives: number;
  readonly popularNegatives: number;
  readonly learningRate: number;
  readonly dropout: number;
  readonly weightDecay: number;
  readonly random: Random;
  readonly openSession: OpenSession;
  readonly threads: number;
  readonly onProgress: (progress: TrainingProgress) => void;
}

/** Candidates the retriever would bring, from which hard negatives are drawn. */
const RETRIEVED = 200;

/**
 * Trains the ranker's own judgement on top of frozen towers to tell what a user took from other items, by a softmax
 * over one taken item and its negatives. The towers' match stays out of the loss: the towers have seen these very
 * decisions, and what corrects their match here would be wrong on new ones (docs/decisions/004).
 *
 * @returns the ranker's own weights by name, as `rankerParts` names them.
 * @throws as {@link Trainer.create}; TRAINING_DIVERGED; DATASET_INVALID without a single example.
 */
export async function trainRanker(training: RankerTraining): Promise<Weights> {
  const examples = someExamples(training);
  const { builder, names } = lossGraph(training);
  const maker = await ExampleBatches.open(training);
  const batchExamples = Math.min(training.batchExamples, examples.length);
  const totalSteps = Math.floor(examples.length / batchExamples);
  const sample = (count: number): RankExample[] =>
    Array.from({ length: count }, (_, place) => must(examples[place % examples.length], 'example'));
  const trainer = await Trainer.create({
    model: builder.build(),
    loss: 'loss',
    parameters: names,
    samples: [await maker.make(sample(2)), await maker.make(sample(3))],
    openSession: training.openSession,
    threads: training.threads,
    adam: {
      learningRate: (step) =>
        training.learningRate * Math.min(1, step / 50) * (1.01 - Math.min(step, totalSteps) / totalSteps),
      weightDecay: training.weightDecay,
      clipNorm: 5,
    },
  });
  const progress = new ProgressReporter({ totalSteps, onProgress: training.onProgress });
  for (let step = 0; step < totalSteps; step++) {
    const batch = examples.slice(step * batchExamples, (step + 1) * batchExamples);
    const { loss } = await trainer.step(await maker.make(batch));
    progress.step(loss, batch.length);
  }
  const weights = trainer.weights();
  await trainer.release();
  await maker.release();
  return weights;
}

function someExamples({ sequences, shape, examples: wanted, random }: RankerTraining): RankExample[] {
  const examples = drawExamples(sequences, shape.tower.maxLength, wanted, random.fork('examples'));
  if (examples.length > 0) return examples;
  const message = 'The ranker has no decision to learn from: no user has two visits, or none are asked for';
  throw new WhittleError('DATASET_INVALID', message, { users: sequences.length, examples: wanted });
}

/** The graph of the softmax loss over groups of candidates. Feeds: the ranker's inputs, and `mask` `[candidates, features]`. */
function lossGraph(training: RankerTraining): { builder: GraphBuilder; names: string[] } {
  const { shape, retriever } = training;
  const { maxLength } = shape.tower;
  const builder = new GraphBuilder({ name: 'ranker_training' });
  const { op } = builder;
  const frozen = new Set(retriever.weights.keys());
  const set = new ParameterSet(builder, training.random.fork('weights'), retriever.weights);
  const { judgement } = rankerParts(
    set,
    shape,
    {
      seen: { history: builder.input('history', 'int64', ['requests', maxLength]) },
      period: builder.input('period', 'int64', ['requests']),
      candidate: builder.input('candidate', 'int64', ['candidates']),
      requestIndex: builder.input('request_index', 'int64', ['candidates']),
      ...addItemTable(builder, shape.tower, retriever),
    },
    (features, featureWidth) =>
      op.Mul(features, builder.input('mask', 'float32', ['candidates', featureWidth])),
  );
  const group = 1 + training.hardNegatives + training.popularNegatives;
  const likelihood = op.LogSoftmax(op.Reshape(judgement, [-1, group]), { axis: 1 });
  const taken = op.Slice(likelihood, [0], [1], [1]);
  builder.node('Neg', [op.ReduceMean(taken, [0, 1], { keepdims: 0 })], {}, ['loss']);
  builder.output('loss', 'float32', []);
  return { builder, names: set.names.filter((name) => !frozen.has(name)) };
}

/** Makes the feeds of batches; asks the towers what they would have retrieved. */
class ExampleBatches {
  readonly #training: RankerTraining;
  readonly #retrieve: Session;
  readonly #random: Random;
  readonly #sampler: PopularitySampler;

  private constructor(training: RankerTraining, retrieve: Session) {
    this.#training = training;
    this.#retrieve = retrieve;
    this.#random = training.random.fork('negatives');
    const counts = itemCounts(training.sequences, training.items);
    this.#sampler = new PopularitySampler(counts, training.random.fork('popular'));
  }

  static async open(training: RankerTraining): Promise<ExampleBatches> {
    const { shape, retriever, openSession, threads } = training;
    const model = encodeModel(buildRetrievalModel(shape.tower, retriever, RETRIEVED));
    return new ExampleBatches(training, await openSession(model, { threads }));
  }

  async make(examples: readonly RankExample[]): Promise<TensorMap> {
    const { shape, boundaries, dropout } = this.#training;
    const { maxLength } = shape.tower;
    const history = new BigInt64Array(examples.length * maxLength);
    examples.forEach((example, row) => {
      const first = (row + 1) * maxLength - example.history.length;
      example.history.forEach((item, place) => (history[first + place] = BigInt(item)));
    });
    const requests = {
      history: int64(history, [examples.length, maxLength]),
      period: int64(examples.map(({ timeSeconds }) => periodOf(boundaries, timeSeconds))),
    };
    const { retrieved } = await this.#retrieve.run(requests, ['retrieved']);
    const ids = must(retrieved, 'retrieved').data as BigInt64Array;
    const perExample = ids.length / examples.length;
    const candidates = examples.flatMap((example, row) =>
      this.#candidates(example, ids.subarray(row * perExample, (row + 1) * perExample)),
    );
    const group = candidates.length / examples.length;
    const features = 5 * shape.tower.dimensions;
    const mask = dropoutMask(
      this.#random,
      candidates.length * features,
      dropout,
      new Float32Array(candidates.length * features),
    );
    return {
      ...requests,
      candidate: int64(candidates),
      request_index: int64(candidates.map((_, place) => Math.floor(place / group))),
      mask: float32(mask, [candidates.length, features]),
    };
  }

  async release(): Promise<void> {
    await this.#retrieve.release();
  }

  /** The taken item first, then its negatives. */
  #candidates({ item, owned }: RankExample, retrieved: BigInt64Array): number[] {
    const { hardNegatives, popularNegatives, items } = this.#training;
    const hard = Array.from(retrieved, Number).filter((other) => !owned.has(other));
    const candidates = [item];
    for (let drawn = 0; drawn < hardNegatives && hard.length > 0; drawn++) {
      candidates.push(...hard.splice(this.#random.integer(hard.length), 1));
    }
    while (candidates.length < 1 + hardNegatives + popularNegatives) {
      const other = this.#sampler.draw();
      if (!owned.has(other) || owned.size >= items) candidates.push(other);
    }
    return candidates;
  }
}
