import { WhittleError, type Log } from '../core/index.js';
import type { Fleet } from './fleet.js';
import type { Generation } from './generation.js';
import { Reloads } from './reloads.js';
import type { EngineStatus, ReloadReport } from './types.js';

export interface SwapperOptions {
  /** Folder of the bundle. */
  readonly folder: string;
  readonly log: Log;
  /** Opens what the folder holds now, beside `previous`. */
  readonly open: (pipelines: readonly string[], previous: Generation) => Promise<Generation>;
  /** Gives the store what a generation brings, before it serves. */
  readonly seed: (next: Generation) => Promise<void>;
  /** Pipelines that traffic is sent to at this moment. */
  readonly neededPipelines: () => readonly string[];
}

/**
 * Holds the generation that serves and puts another in its place:
 *
 *     open beside it ─▶ check, warm ─▶ seed ─▶ switch (one assignment) ─▶ drain the old one ─▶ free it
 *        └──────────── refused: the new one is closed, the old one serves on ────────────┘ never fails
 */
export class Swapper {
  readonly #options: SwapperOptions;
  readonly #reloads: Reloads;
  #generation: Generation;
  /** The one before, until the requests that met it are answered. */
  #retiring: Generation | undefined;
  #closing = false;

  constructor(options: SwapperOptions, generation: Generation) {
    this.#options = options;
    this.#reloads = new Reloads(() => this.#swap(), options.log);
    this.#generation = generation;
  }

  /** What serves now. A request keeps the one that it met. */
  get generation(): Generation {
    return this.#generation;
  }

  /** See {@link Engine.reload}. */
  reload(): Promise<ReloadReport> {
    return this.#reloads.request();
  }

  status(): Pick<EngineStatus, 'bundle' | 'bundleVersion' | 'reloading' | 'lastReload'> {
    const { busy, last } = this.#reloads;
    return {
      bundle: this.#options.folder,
      bundleVersion: this.#generation.version,
      reloading: busy,
      ...(last === undefined ? {} : { lastReload: last }),
    };
  }

  /** Refuses a reload that runs and stops all runners; requests inside fail. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([this.#generation.close(), this.#retiring?.close(), this.#reloads.settled()]);
  }

  async #swap(): Promise<ReloadReport> {
    const startedAt = performance.now();
    const previous = this.#generation;
    if (this.#closing) throw stopping();
    if (await previous.isCurrent(this.#options.folder)) return unchanged(previous, startedAt);
    const next = await this.#options.open(this.#options.neededPipelines(), previous);
    await this.#enter(next, previous);
    const servingAt = performance.now();
    this.#retiring = previous;
    await previous.retire(next);
    this.#retiring = undefined;
    return {
      outcome: 'swapped',
      bundleVersion: next.version,
      previousVersion: previous.version,
      ...runnerNames(next.fleet),
      loadMs: servingAt - startedAt,
      drainMs: performance.now() - servingAt,
    };
  }

  /** From here on requests meet `next`. @throws where it cannot serve what it must by now; it is closed then. */
  async #enter(next: Generation, previous: Generation): Promise<void> {
    try {
      await this.#options.seed(next);
      if (this.#closing) throw stopping();
      // Experiments may have changed while it was opened.
      for (const name of this.#options.neededPipelines()) next.fleet.pipeline(name);
    } catch (thrown) {
      await next.close(previous);
      throw thrown;
    }
    this.#generation = next;
  }
}

function unchanged({ version, fleet }: Generation, startedAt: number): ReloadReport {
  return {
    outcome: 'unchanged',
    bundleVersion: version,
    previousVersion: version,
    started: [],
    kept: fleet.runners.map((runner) => runner.status().name),
    loadMs: performance.now() - startedAt,
    drainMs: 0,
  };
}

function runnerNames({ runners, started }: Fleet): Pick<ReloadReport, 'started' | 'kept'> {
  const names = (isStarted: boolean): string[] =>
    runners.filter((one) => started.has(one) === isStarted).map((one) => one.status().name);
  return { started: names(true), kept: names(false) };
}

function stopping(): WhittleError {
  return new WhittleError('NOT_READY', 'The server is stopping');
}
