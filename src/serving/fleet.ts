import { resolve } from 'node:path';
import { must, sha256, WhittleError, type Contract } from '../core/index.js';
import type { OpenBundle } from './bundle.js';
import type { Pipeline } from './pipeline.js';
import { Ranker } from './ranker.js';
import { Retriever } from './retriever.js';
import { runnerMemory, type RunnerOptions } from './runner-options.js';
import { retrieverFile, retrieverFiles } from './trials.js';

/** Every runner of a bundle, started together and stopped together. */
export class Fleet {
  readonly rankers: ReadonlyMap<string, Ranker>;
  readonly retrievers: ReadonlyMap<string, Retriever>;
  readonly pipelines: ReadonlyMap<string, Pipeline>;

  private constructor(bundle: OpenBundle, options: RunnerOptions, variants: readonly string[] | undefined) {
    this.rankers = openRankers(bundle, options, variants);
    this.retrievers = openRetrievers(bundle, options);
    this.pipelines = this.#buildPipelines(bundle);
  }

  /**
   * Starts the runners of all retrievers and of the given variants (default: all).
   * @throws RUNNER_START_FAILED, after stopping those that did start: a server never starts half.
   */
  static async start(
    bundle: OpenBundle,
    options: RunnerOptions,
    variants?: readonly string[],
  ): Promise<Fleet> {
    const fleet = new Fleet(bundle, options, variants);
    const outcomes = await Promise.allSettled(fleet.#runners().map((runner) => runner.start()));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) return fleet;
    await fleet.close();
    throw failed.reason;
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

  async close(): Promise<void> {
    await Promise.all(this.#runners().map((runner) => runner.close()));
  }

  #runners(): (Ranker | Retriever)[] {
    return [...this.rankers.values(), ...this.retrievers.values()];
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

function openRankers(
  bundle: OpenBundle,
  options: RunnerOptions,
  chosen: readonly string[] | undefined,
): Map<string, Ranker> {
  const { manifest } = bundle;
  const { contract } = manifest;
  if (contract === undefined) return new Map();
  const served = Object.entries(manifest.variants).filter(([name]) => chosen?.includes(name) ?? true);
  return new Map(served.map(([name, { file }]) => [name, openRanker(bundle, name, file, contract, options)]));
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
  return new Ranker(name, resolve(bundle.directory, file), contract, memory, options);
}

function openRetrievers(bundle: OpenBundle, options: RunnerOptions): Map<string, Retriever> {
  const { directory, manifest } = bundle;
  const { threads, openMemoryBytes } = options.runners;
  return new Map(
    Object.entries(manifest.retrievers).map(([name, retriever]) => {
      const spec = { directory: resolve(directory), retriever, rows: manifest.catalogue.rows, threads };
      const files = retrieverFiles(bundle, retriever);
      const memory = runnerMemory(bundle, retrieverFile(retriever), files, openMemoryBytes);
      return [name, new Retriever(name, spec, memory, options)];
    }),
  );
}

/** One hash that changes with any file of the bundle. */
export function bundleVersion({ manifest }: OpenBundle): string {
  return sha256(JSON.stringify(manifest)).slice(0, 16);
}
