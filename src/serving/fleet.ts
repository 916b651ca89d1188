import { resolve } from 'node:path';
import { must, sha256, WhittleError, type Contract } from '../core/index.js';
import type { OpenBundle } from './bundle.js';
import type { Pipeline } from './pipeline.js';
import { Ranker } from './ranker.js';
import { Retriever } from './retriever.js';
import { runnerKeys } from './runner-keys.js';
import { runnerMemory, type RunnerOptions } from './runner-options.js';
import { retrieverFile, retrieverFiles } from './trials.js';
import { verifiedPart } from './verified-part.js';

/** Which runners a fleet has. */
export interface FleetChoice {
  /** Variants that are served; default: all of the bundle. */
  readonly variants?: readonly string[] | undefined;
  /** A fleet that serves: its runners of unchanged files and settings are used, not started again. */
  readonly previous?: Fleet | undefined;
}

/** Every runner of a bundle, started together and stopped together. */
export class Fleet {
  readonly rankers: ReadonlyMap<string, Ranker>;
  readonly retrievers: ReadonlyMap<string, Retriever>;
  readonly pipelines: ReadonlyMap<string, Pipeline>;
  /** Runners that are not those of the fleet before. */
  readonly started: ReadonlySet<Ranker | Retriever>;
  /** What each runner was opened with, see {@link runnerKeys}. */
  readonly keys: ReadonlyMap<string, string>;

  private constructor(bundle: OpenBundle, options: RunnerOptions, { variants, previous }: FleetChoice) {
    this.keys = runnerKeys(bundle, options.runners.threads, variants);
    this.rankers = this.#kept(rankersOf(bundle, options, variants), previous, previous?.rankers);
    this.retrievers = this.#kept(retrieversOf(bundle, options), previous, previous?.retrievers);
    const kept = new Set(previous?.runners);
    this.started = new Set(this.runners.filter((runner) => !kept.has(runner)));
    this.pipelines = this.#buildPipelines(bundle);
  }

  /**
   * Starts the runners of all retrievers and of the chosen variants.
   * @throws RUNNER_START_FAILED, after stopping those that did start: a server never starts half.
   */
  static async start(bundle: OpenBundle, options: RunnerOptions, choice: FleetChoice = {}): Promise<Fleet> {
    const fleet = new Fleet(bundle, options, choice);
    try {
      // Beside a fleet that serves one after the other, so that the starts leave it the machine.
      await startRunners([...fleet.started], choice.previous === undefined ? Infinity : 1);
      return fleet;
    } catch (thrown) {
      await fleet.close(choice.previous);
      throw thrown;
    }
  }

  /** Every runner, rankers first. */
  get runners(): readonly (Ranker | Retriever)[] {
    return [...this.rankers.values(), ...this.retrievers.values()];
  }

  /** Whether a runner is out of service, and only a new one would do. */
  get hasFailed(): boolean {
    return this.runners.some(isOutOfService);
  }

  /** @throws NOT_FOUND naming the pipelines there are. */
  pipeline(name: string): Pipeline {
    const pipeline = this.pipelines.get(name);
    if (pipeline !== undefined) return pipeline;
    const allowed = [...this.pipelines.keys()];
    throw new WhittleError('NOT_FOUND', `There is no pipeline ${name}; there are ${allowed.join(', ')}`, {
      field: 'pipeline',
      value: name,
      allowed,
    });
  }

  /** What the named pipelines wait for: the runners that are not ready, and why. Undefined where all are. */
  notReadyReason(names: readonly string[]): string | undefined {
    const needed = names.flatMap((name) => {
      const { ranker, recommend, search } = this.pipeline(name);
      return [ranker?.runner, recommend, search].filter((runner) => runner !== undefined);
    });
    const reasons = [...new Set(needed)]
      .map((runner) => runner.status())
      .filter(({ state }) => state !== 'ready')
      .map(({ name, state, reason }) => reason ?? `runner ${name} is ${state}`);
    return reasons.length === 0 ? undefined : reasons.join('; ');
  }

  /** Stops the runners that `other` does not use. */
  async close(other?: Fleet): Promise<void> {
    const kept = new Set(other?.runners);
    const own = this.runners.filter((runner) => !kept.has(runner));
    await Promise.all(own.map((runner) => runner.close()));
  }

  /** The runner of the fleet before where it serves exactly what a new one would; else a new one, not yet started. */
  #kept<Runner extends Ranker | Retriever>(
    makers: ReadonlyMap<string, () => Runner>,
    previous: Fleet | undefined,
    known: ReadonlyMap<string, Runner> | undefined,
  ): Map<string, Runner> {
    return new Map(
      [...makers].map(([name, make]) => {
        const old = known?.get(name);
        const isSame = old !== undefined && previous?.keys.get(name) === this.keys.get(name);
        return [name, isSame && !isOutOfService(old) ? old : make()];
      }),
    );
  }

  /** Pipelines whose variant is served. */
  #buildPipelines({ manifest }: OpenBundle): Map<string, Pipeline> {
    const pipelines = new Map<string, Pipeline>();
    for (const [name, spec] of Object.entries(manifest.pipelines)) {
      const { ranker: variant, recommend, search } = spec;
      const runner = variant === undefined ? undefined : this.rankers.get(variant);
      if (variant !== undefined && runner === undefined) continue;
      pipelines.set(name, {
        name,
        spec,
        recommend: recommend === undefined ? undefined : this.retrievers.get(recommend),
        search: search === undefined ? undefined : this.retrievers.get(search),
        ranker:
          runner === undefined || variant === undefined
            ? undefined
            : { variant, runner, contract: must(manifest.contract, 'contract') },
      });
    }
    return pipelines;
  }
}

/** @throws the first failure, once none starts any more. */
async function startRunners(runners: readonly (Ranker | Retriever)[], atOnce: number): Promise<void> {
  const waiting = [...runners];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next.start();
  };
  const outcomes = await Promise.allSettled(
    Array.from({ length: Math.min(atOnce, runners.length) }, () => work()),
  );
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function isOutOfService(runner: Ranker | Retriever): boolean {
  const { state } = runner.status();
  return state === 'failed' || state === 'stopped';
}

/** How to make the ranker of each variant. */
function rankersOf(
  bundle: OpenBundle,
  options: RunnerOptions,
  chosen: readonly string[] | undefined,
): Map<string, () => Ranker> {
  const { manifest } = bundle;
  const { contract } = manifest;
  if (contract === undefined) return new Map();
  const served = Object.entries(manifest.variants).filter(([name]) => chosen?.includes(name) ?? true);
  return new Map(
    served.map(([name, { file }]) => [name, () => openRanker(bundle, name, file, contract, options)]),
  );
}

function openRanker(
  bundle: OpenBundle,
  name: string,
  file: string,
  contract: Contract,
  options: RunnerOptions,
): Ranker {
  const { files } = must(bundle.models.get(file), `model ${file}`);
  const memory = runnerMemory(bundle, file, files, options.runners.openMemoryBytes);
  const spec = {
    modelPath: resolve(bundle.directory, file),
    inputs: contract.inputs,
    output: contract.output,
    threads: options.runners.threads,
    verified: verifiedPart(bundle, files),
  };
  return new Ranker(name, spec, contract, memory, options);
}

/** How to make each retriever. */
function retrieversOf(bundle: OpenBundle, options: RunnerOptions): Map<string, () => Retriever> {
  const { directory, manifest } = bundle;
  const { threads, openMemoryBytes } = options.runners;
  return new Map(
    Object.entries(manifest.retrievers).map(([name, retriever]) => {
      const files = retrieverFiles(bundle, retriever);
      const spec = {
        directory: resolve(directory),
        retriever,
        rows: manifest.catalogue.rows,
        threads,
        verified: verifiedPart(bundle, files),
      };
      const memory = runnerMemory(bundle, retrieverFile(retriever), files, openMemoryBytes);
      return [name, () => new Retriever(name, spec, memory, options)];
    }),
  );
}

/** One hash that changes with any file of the bundle. */
export function bundleVersion({ manifest }: Pick<OpenBundle, 'manifest'>): string {
  return sha256(JSON.stringify(manifest)).slice(0, 16);
}
