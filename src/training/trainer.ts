import { assert, float32Data, must, WhittleError } from '../core/index.js';
import type { OpenSession, Session, Tensor, TensorMap } from '../core/index.js';
import { encodeModel, initializerOf, probeShapes, tensorOf, withInitializers } from '../onnx/index.js';
import type { Graph, Model } from '../onnx/index.js';
import { Adam } from './adam.js';
import type { AdamOptions } from './adam.js';
import { createKernels } from './adam-kernel.js';
import { backward } from './backward.js';
import type { ParameterGradient } from './backward.js';
import { parametersAsInputs, toDifferentiable } from './differentiable.js';
import { FeedCheck, fedValue } from './feed-check.js';
import { FloatMemory } from './float-memory.js';
import { denseParameter, ParameterArrays } from './parameter.js';
import type { Parameter, ParameterSpace } from './parameter.js';
import { RowParameter } from './row-parameter.js';
import { selectOutputs } from './select-outputs.js';

export interface TrainerOptions {
  /** Forward graph up to the loss, as `GraphBuilder.build` or `readModel` gives it. */
  readonly model: Model;
  /** Name of the scalar to make small; it need not be an output. */
  readonly loss: string;
  /** Float32 initializers to train; all others stay as they are (frozen). */
  readonly parameters: readonly string[];
  /** Those of them that are tables updated by row; see `isRowSparse`. Default none. */
  readonly sparse?: readonly string[];
  /** Values that count as constants in the backward pass. Default none. */
  readonly stopGradients?: readonly string[];
  /**
   * Two batches of different sizes, both above 1: a dimension that is equal in both is taken to be fixed, and `step`
   * then refuses any other size.
   */
  readonly samples: readonly [TensorMap, TensorMap];
  readonly openSession: OpenSession;
  /** Threads inside one operator. Default 1. */
  readonly threads?: number;
  readonly adam?: AdamOptions;
}

/** What one step found before it moved the weights. */
export interface StepResult {
  readonly loss: number;
}

/**
 * Trains a model: ONNX Runtime computes the loss and its gradients, Adam moves the weights in place between runs.
 * There is no hidden randomness: equal feeds and the same number of threads give equal weights, bit for bit. Feed
 * dropout masks and noise as inputs. A run blocks the calling thread until it is done; await each call before the next.
 */
export class Trainer {
  readonly #options: TrainerOptions;
  readonly #session: Session;
  readonly #space: ParameterSpace;
  readonly #parameters: ReadonlyMap<string, Parameter>;
  readonly #adam: Adam;
  readonly #feedCheck: FeedCheck;
  readonly #evaluators = new Map<string, Promise<Session>>();
  #stepping = false;

  private constructor(
    options: TrainerOptions,
    session: Session,
    gradients: ReadonlyMap<string, ParameterGradient>,
  ) {
    const memory = new FloatMemory();
    this.#options = options;
    this.#session = session;
    this.#space = { memory, kernels: createKernels(memory.memory) };
    this.#adam = new Adam(this.#space.kernels, options.adam ?? {});
    this.#parameters = new Map(
      [...gradients].map(([name, gradient]) => [name, this.#createParameter(name, gradient)]),
    );
    const fed = session.inputs.filter((input) => !gradients.has(input.name));
    this.#feedCheck = new FeedCheck(fed, options.samples);
  }

  /**
   * Builds the gradient graph and opens it. Initial weights are copied out of the model, which stays as it is.
   * @throws GRADIENT_UNSUPPORTED naming a node without a rule; INPUT_INVALID for parameters, tables or a loss that do
   * not fit the model; MODEL_INVALID where ONNX Runtime cannot run it; MODEL_TOO_LARGE.
   */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { openSession, parameters, samples, threads = 1 } = options;
    const forward = toDifferentiable(options.model, parameters);
    const weights = initialWeights(options.model.graph, parameters);
    const [first, second] = samples;
    const shapes = await probeShapes(
      forward,
      openSession,
      { ...first, ...weights },
      { ...second, ...weights },
    );
    const { model, gradients } = backward(forward, { ...options, shapes });
    // Fusions of higher levels crash on some gradient graphs (ONNX Runtime 1.30) and made none of them faster.
    const session = await openSession(encodeModel(model), { threads, optimization: 'basic' });
    return new Trainer(options, session, gradients);
  }

  /** Steps done so far. */
  get stepCount(): number {
    return this.#adam.stepCount;
  }

  /**
   * One forward and backward pass over a batch and one step of Adam. Feeds beyond those of the loss are ignored.
   * @throws INPUT_INVALID for a missing feed or a size that the samples showed to be fixed; TRAINING_DIVERGED where
   * the loss is not finite: the weights then stay as they were.
   */
  async step(feeds: TensorMap): Promise<StepResult> {
    assert(!this.#stepping, 'a step begins after the one before has settled');
    this.#stepping = true;
    try {
      const loss = await this.#computeGradients(feeds);
      this.#checkFinite(loss);
      this.#moveWeights(feeds);
      return { loss };
    } finally {
      this.#stepping = false;
    }
  }

  /** Runs the forward graph with the present weights and answers the named outputs, which may be any values of it. */
  async evaluate(feeds: TensorMap, outputs: readonly string[]): Promise<TensorMap> {
    const key = JSON.stringify(outputs);
    const opening = this.#evaluators.get(key) ?? this.#openEvaluator(outputs);
    this.#evaluators.set(key, opening);
    const session = await opening;
    const all: TensorMap = { ...feeds, ...this.#weightFeeds() };
    const entries = session.inputs.map(({ name }): [string, Tensor] => [name, fedValue(all, name)]);
    return session.run(Object.fromEntries(entries));
  }

  /** Multiplies a parameter by `mask` now and after every step, which keeps pruned weights at zero. Copies the mask. */
  setMask(parameter: string, mask: Float32Array): void {
    this.#parameter(parameter).setMask(mask);
  }

  /** Copies of the present weights, by parameter. */
  weights(): Map<string, Float32Array> {
    return new Map([...this.#parameters].map(([name, it]) => [name, float32Data(it.weights()).slice()]));
  }

  /**
   * The forward model with the present weights. With `outputs` named, it has those outputs and only the nodes and
   * inputs they need: that is how the loss and its labels are left behind.
   */
  export(outputs?: readonly string[]): Model {
    const { model } = this.#options;
    const trained = [...this.weights()].map(([name, data]) => {
      const dims = must(model.graph.initializers.get(name), name).dims;
      return initializerOf(name, { dtype: 'float32', dims, data });
    });
    const graph = withInitializers(model.graph, trained);
    return { ...model, graph: outputs === undefined ? graph : selectOutputs(graph, outputs) };
  }

  /** Frees the sessions; the trainer cannot be used afterwards. */
  async release(): Promise<void> {
    const evaluators = await Promise.all(this.#evaluators.values());
    this.#evaluators.clear();
    for (const session of [this.#session, ...evaluators]) await session.release();
  }

  #createParameter(name: string, gradient: ParameterGradient): Parameter {
    const initializer = must(this.#options.model.graph.initializers.get(name), name);
    const initial = float32Data(tensorOf(initializer));
    const arrays = new ParameterArrays(this.#space, name, initializer.dims, initial);
    if (gradient.kind === 'rows') return new RowParameter(this.#space, arrays, gradient.parts);
    return denseParameter(this.#space, arrays, gradient.value);
  }

  /** Gradients land in the parameters' own memory. */
  async #computeGradients(feeds: TensorMap): Promise<number> {
    const checked = this.#feedCheck.select(feeds);
    const parameters = [...this.#parameters.values()];
    for (const parameter of parameters) parameter.reserve(checked);
    // No allocation from here to the end of the run: it would detach the views that are fed and fetched.
    const targets: Record<string, Tensor | null> = { [this.#options.loss]: null };
    for (const parameter of parameters) Object.assign(targets, parameter.targets(checked));
    const results = await this.#session.run({ ...checked, ...this.#weightFeeds() }, targets);
    return Number(must(results[this.#options.loss], 'loss').data[0]);
  }

  #moveWeights(feeds: TensorMap): void {
    const parameters = [...this.#parameters.values()];
    for (const parameter of parameters) parameter.collect(feeds);
    const gradientNorm = (): number => {
      let sum = 0;
      for (const parameter of parameters) sum += parameter.squaredNorm();
      return Math.sqrt(sum);
    };
    const update = this.#adam.beginStep(gradientNorm);
    for (const parameter of parameters) parameter.update(update(parameter.name));
  }

  #checkFinite(loss: number): void {
    if (Number.isFinite(loss)) return;
    throw new WhittleError(
      'TRAINING_DIVERGED',
      `The loss is ${loss} at step ${this.stepCount + 1}: lower the learning rate or clip the gradients`,
      { step: this.stepCount + 1, loss: String(loss) },
    );
  }

  #weightFeeds(): TensorMap {
    return Object.fromEntries([...this.#parameters].map(([name, parameter]) => [name, parameter.weights()]));
  }

  #openEvaluator(outputs: readonly string[]): Promise<Session> {
    const { model, openSession, parameters, threads = 1 } = this.#options;
    const graph = selectOutputs(parametersAsInputs(model.graph, parameters), outputs);
    return openSession(encodeModel({ ...model, graph }), { threads, optimization: 'basic' });
  }

  #parameter(name: string): Parameter {
    const parameter = this.#parameters.get(name);
    if (parameter) return parameter;
    throw new WhittleError('INPUT_INVALID', `${name} is not a parameter of this trainer`, {
      field: 'parameter',
      value: name,
      allowed: [...this.#parameters.keys()],
    });
  }
}

function initialWeights(graph: Graph, parameters: readonly string[]): TensorMap {
  return Object.fromEntries(
    parameters.map((name) => [name, tensorOf(must(graph.initializers.get(name), name))]),
  );
}
