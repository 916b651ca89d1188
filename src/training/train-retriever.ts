import {
  float32,
  int64,
  must,
  shuffle,
  type OpenSession,
  type Random,
  type TensorMap,
} from '../core/index.js';
import { GraphBuilder } from '../onnx/index.js';
import { ParameterSet, type Weights } from './architectures/parameter-set.js';
import { encodeHistory, tableWidth, userSide, type TowerShape } from './architectures/user-tower.js';
import { bagOfWords, multiply, type BagOfWords } from './bag-of-words.js';
import { dropoutMask } from './dropout-kernel.js';
import { itemTrends, periodOf } from './periods.js';
import { itemCounts, PopularitySampler } from './popularity-sampler.js';
import { ProgressReporter, type TrainingProgress } from './progress.js';
import { Trainer } from './trainer.js';
import { epochWindows, type TrainingWindow, type UserSequence } from './windows.js';

export interface RetrieverTraining {
  readonly sequences: readonly UserSequence[];
  /** One text an item, in item order. */
  readonly texts: readonly string[];
  readonly shape: TowerShape;
  /** Period boundaries, unix seconds; one fewer than `shape.periods`. */
  readonly boundaries: readonly number[];
  readonly epochs: number;
  readonly batchWindows: number;
  readonly learningRate: number;
  readonly dropout: number;
  readonly labelSmoothing: number;
  /** Words of the item texts that the item tower knows. */
  readonly maxWords: number;
  /** Classes of the softmax; with more items than this, negatives are sampled and their logits corrected. */
  readonly maxClasses: number;
  readonly random: Random;
  readonly openSession: OpenSession;
  readonly threads: number;
  readonly onProgress: (progress: TrainingProgress) => void;
}

/** Both towers. */
export interface TrainedRetriever {
  /** The user tower's weights by name, as `userVector` names them. */
  readonly weights: Weights;
  /** The item table, float32 `[items + 1, tableWidth]`; row 0 is padding. */
  readonly itemTable: Float32Array;
}

/**
 * Trains the two towers to predict the next visit's items by a softmax over all items (sampled, with a correction for
 * each item's chance to be drawn, where there are too many; Bengio and Senécal 2008).
 *
 * @throws as {@link Trainer.create}; TRAINING_DIVERGED.
 */
export async function trainRetriever(training: RetrieverTraining): Promise<TrainedRetriever> {
  const words = bagOfWords(training.texts, training.maxWords);
  const counts = itemCounts(training.sequences, training.texts.length);
  const trends = itemTrends(training.sequences, training.texts.length, training.boundaries);
  const { builder, names } = lossGraph(training, words, counts, trends);
  const batches = new BatchMaker(training, counts);
  const totalSteps = training.epochs * Math.ceil(batches.windows().length / training.batchWindows);
  const warmSteps = Math.min(100, Math.ceil(totalSteps / 10));
  const trainer = await Trainer.create({
    model: builder.build(),
    loss: 'loss',
    parameters: names,
    samples: batches.samples(),
    openSession: training.openSession,
    threads: training.threads,
    adam: {
      // Warm-up, then half a cosine down to a hundredth.
      learningRate: (step) =>
        training.learningRate *
        Math.min(1, step / warmSteps) *
        (0.01 + 0.99 * 0.5 * (1 + Math.cos((Math.PI * Math.min(step, totalSteps)) / totalSteps))),
      clipNorm: 5,
    },
  });
  const progress = new ProgressReporter({ totalSteps, onProgress: training.onProgress });
  let windows: TrainingWindow[] = [];
  for (let step = 0; step < totalSteps; step++) {
    // Epochs differ a little in their windows; the steps do not, so that the learning rate comes to its end.
    if (windows.length === 0) windows = batches.windows();
    const batch = windows.splice(0, training.batchWindows);
    const { loss } = await trainer.step(batches.make(batch));
    progress.step(loss, batch.length);
  }
  const trained = trainer.weights();
  await trainer.release();
  return assemble(trained, words, trends, training.shape);
}

/** The item table: id and text vectors together, popularity before each period, bias. Row 0 pads and is all zero. */
function assemble(
  trained: Weights,
  words: BagOfWords,
  trends: Float32Array,
  shape: TowerShape,
): TrainedRetriever {
  const { dimensions, periods } = shape;
  const width = tableWidth(shape);
  const ids = must(trained.get('items.ids'), 'items.ids');
  const bias = must(trained.get('items.bias'), 'items.bias');
  const wordVectors = must(trained.get('items.words'), 'items.words');
  const text = multiply(words.matrix, wordVectors, bias.length, dimensions);
  const itemTable = new Float32Array(bias.length * width);
  for (let item = 1; item < bias.length; item++) {
    for (let column = 0; column < dimensions; column++) {
      const at = item * dimensions + column;
      itemTable[item * width + column] = must(ids[at], 'id') + must(text[at], 'text');
    }
    itemTable.set(trends.subarray(item * periods, (item + 1) * periods), item * width + dimensions);
    itemTable[(item + 1) * width - 1] = must(bias[item], 'bias');
  }
  return { weights: new Map([...trained].filter(([name]) => name.startsWith('tower.'))), itemTable };
}

/**
 * The training graph. Feeds: `history` `[windows, maxLength]`, `position` `[targets]` (flat place in the windows),
 * `period` `[targets]`, `label` `[targets]` (place among the classes), `classes` `[classes]` (item numbers),
 * `correction` `[classes]` (log chance of being drawn), and the dropout masks.
 */
function lossGraph(
  training: RetrieverTraining,
  words: BagOfWords,
  counts: Float32Array,
  trends: Float32Array,
): { builder: GraphBuilder; names: string[] } {
  const { shape, texts } = training;
  const builder = new GraphBuilder({ name: 'retriever_training' });
  const { op } = builder;
  const set = new ParameterSet(builder, training.random.fork('weights'));
  const { dimensions: width, maxLength } = shape;
  const items = texts.length + 1;
  const history = builder.input('history', 'int64', ['windows', maxLength]);
  const position = builder.input('position', 'int64', ['targets']);
  const period = builder.input('period', 'int64', ['targets']);
  const label = builder.input('label', 'int64', ['targets']);
  const classes = builder.input('classes', 'int64', ['classes']);
  const correction = builder.input('correction', 'float32', ['classes']);
  const bags = builder.initializer('bags', float32(words.matrix, [items, words.words.length]));
  const vectors = op.Add(
    set.normal('items.ids', [items, width], 0.02),
    op.MatMul(bags, set.filled('items.words', [words.words.length, width], 0)),
  );
  const prior = counts.map((count) => 0.7 * Math.log(count + 1));
  const bias = op.Unsqueeze(set.given('items.bias', [items], prior), [1]);
  const table = op.Concat(
    vectors,
    builder.initializer('trends', float32(trends, [items, shape.periods])),
    bias,
    { axis: 1 },
  );
  let masks = 0;
  const dropout = (x: string): string =>
    op.Mul(x, builder.input(`mask${masks++}`, 'float32', ['windows', maxLength, width]));
  const past = op.Gather(vectors, history);
  const states = encodeHistory(set, shape, { history }, past, items, { dropout, lastOnly: false });
  const user = userSide(set, shape, op.Gather(op.Reshape(states, [-1, width]), position), period);
  const classTable = op.Gather(table, classes);
  const logits = op.Sub(op.Gemm(user, classTable, { transB: 1 }), correction);
  const entropy = op.SoftmaxCrossEntropyLoss(logits, label, { reduction: 'mean' });
  // Smoothing towards equal shares adds ε (logit of the label − mean logit), which needs no pass over all logits.
  const excess = (values: string): string =>
    op.Sub(op.Gather(values, label), op.ReduceMean(values, [0], { keepdims: 1 }));
  const ahead = op.Add(
    op.ReduceSum(op.Mul(user, excess(classTable)), [1], { keepdims: 0 }),
    excess(op.Neg(correction)),
  );
  const smoothing = op.Mul(op.ReduceMean(ahead, [0], { keepdims: 0 }), training.labelSmoothing);
  builder.node('Add', [entropy, smoothing], {}, ['loss']);
  builder.output('loss', 'float32', []);
  return { builder, names: set.names };
}

/** Makes the feeds of batches. */
class BatchMaker {
  readonly #training: RetrieverTraining;
  readonly #random: Random;
  readonly #sampler: PopularitySampler;
  readonly #masks: number;

  constructor(training: RetrieverTraining, counts: Float32Array) {
    this.#training = training;
    this.#random = training.random.fork('batches');
    this.#sampler = new PopularitySampler(counts, training.random.fork('negatives'));
    this.#masks = 1 + 2 * training.shape.blocks;
  }

  /** The windows of one epoch, shuffled. */
  windows(): TrainingWindow[] {
    const { sequences, shape } = this.#training;
    const windows = [...epochWindows(sequences, shape.maxLength, this.#random)].filter(
      ({ targets }) => targets.length > 0,
    );
    const order = shuffle(Int32Array.from(windows.keys()), this.#random);
    return Array.from(order, (place) => must(windows[place], 'window'));
  }

  /** Two batches, of which the second has more of everything that differs between batches. */
  samples(): [TensorMap, TensorMap] {
    const windows = this.windows();
    const some = (count: number): TrainingWindow[] =>
      Array.from({ length: count }, (_, place) => must(windows[place % windows.length], 'window'));
    return [this.make(some(2), 0), this.make(some(3))];
  }

  /** @param draws negatives drawn where not all items are classes. */
  make(windows: readonly TrainingWindow[], draws = this.#training.maxClasses): TensorMap {
    const { shape, dropout, boundaries } = this.#training;
    const { maxLength, dimensions } = shape;
    const history = new BigInt64Array(windows.length * maxLength);
    const position: number[] = [];
    const period: number[] = [];
    const wanted: number[] = [];
    windows.forEach(({ items, targets }, row) => {
      const first = row * maxLength + maxLength - items.length;
      items.forEach((item, place) => (history[first + place] = BigInt(item)));
      for (const { seen, item, timeSeconds } of targets) {
        // One before the first item is padding: the state of a user without history.
        position.push(first + seen - 1);
        period.push(periodOf(boundaries, timeSeconds));
        wanted.push(item);
      }
    });
    const size = windows.length * maxLength * dimensions;
    const masks = Array.from({ length: this.#masks }, (_, index): [string, TensorMap[string]] => [
      `mask${index}`,
      float32(dropoutMask(this.#random, size, dropout, new Float32Array(size)), [
        windows.length,
        maxLength,
        dimensions,
      ]),
    ]);
    return {
      history: int64(history, [windows.length, maxLength]),
      position: int64(position),
      period: int64(period),
      ...this.#classes(wanted, draws),
      ...Object.fromEntries(masks),
    };
  }

  /** All items where they fit, else the targets and a sample of the others with their chances. */
  #classes(wanted: readonly number[], draws: number): TensorMap {
    const items = this.#training.texts.length;
    const { maxClasses } = this.#training;
    if (items <= maxClasses) {
      const all = Array.from({ length: items }, (_, index) => index + 1);
      return {
        classes: int64(all),
        correction: float32(new Float32Array(items)),
        label: int64(wanted.map((item) => item - 1)),
      };
    }
    const drawn = new Set(wanted);
    for (let tries = 0; tries < draws; tries++) drawn.add(this.#sampler.draw());
    const classes = [...drawn];
    const place = new Map(classes.map((item, index) => [item, index]));
    return {
      classes: int64(classes),
      correction: float32(
        Float32Array.from(classes, (item) => Math.log(this.#sampler.chance(item, maxClasses))),
      ),
      label: int64(wanted.map((item) => must(place.get(item), 'class'))),
    };
  }
}
