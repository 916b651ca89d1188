import { join } from 'node:path';
import { checkUnchanged, VerificationRecord, type Log, type ServerConfig } from '../core/index.js';
import { readUsers, type UserHistory } from '../data/index.js';
import { admitModels } from './admit-models.js';
import { AnswerCache } from './answer-cache.js';
import { openBundle, type OpenBundle } from './bundle.js';
import { bundleVersion, Fleet } from './fleet.js';
import type { BatchReport } from './runner-options.js';
import { Shadow } from './shadow.js';
import type { Observation } from './types.js';

export interface GenerationOptions {
  readonly config: ServerConfig;
  readonly log: Log;
  /** Variants to start; default: all of the bundle. */
  readonly variants?: readonly string[];
  readonly observe: (observation: Observation) => void;
}

/**
 * One state of the bundle's folder as it is served: catalogue, runners, answer cache and shadow. A request stays with
 * the generation that it entered, so no answer mixes two states.
 */
export class Generation {
  readonly bundle: OpenBundle;
  readonly fleet: Fleet;
  /** Changes with any file of the bundle. */
  readonly version: string;
  /** Users whose histories the bundle brings. */
  readonly users: readonly UserHistory[];
  readonly cache: AnswerCache;
  readonly shadow: Shadow;
  #open = 0;
  #whenIdle: () => void = () => undefined;

  private constructor(
    bundle: OpenBundle,
    users: readonly UserHistory[],
    fleet: Fleet,
    { config, observe }: GenerationOptions,
  ) {
    this.bundle = bundle;
    this.users = users;
    this.fleet = fleet;
    this.version = bundleVersion(bundle);
    this.cache = new AnswerCache(config.cache, this.version);
    this.shadow = new Shadow(config.shadow, fleet.rankers.get('full'), observe);
  }

  /**
   * Reads and verifies the bundle, tries out its models and starts its runners.
   * @throws what {@link openBundle}, {@link admitModels} and {@link Fleet.start} throw, NOT_FOUND where an arm's pipeline is not served;
   * nothing is left running then.
   */
  static async open(options: GenerationOptions): Promise<Generation> {
    const { config, log, variants, observe } = options;
    const bundle = await openVerified(options);
    const users = await readKnownUsers(bundle);
    const onBatch = (batch: BatchReport): void => {
      observe({ kind: 'batch', ...batch });
    };
    const { runners, overload } = config;
    const fleet = await Fleet.start(bundle, { runners, overload, log, onBatch }, variants);
    try {
      // The runners have opened their files by now: those that were verified.
      await checkUnchanged(bundle.directory, bundle.verified);
      for (const { arms } of config.experiments) for (const { pipeline } of arms) fleet.pipeline(pipeline);
      return new Generation(bundle, users, fleet, options);
    } catch (thrown) {
      await fleet.close();
      throw thrown;
    }
  }

  /** Runs `use` with this generation; it is not freed before that settles. */
  async during<T>(use: () => Promise<T>): Promise<T> {
    this.#open += 1;
    try {
      return await use();
    } finally {
      this.#open -= 1;
      if (this.#open === 0) this.#whenIdle();
    }
  }

  /** Waits for the requests inside, then stops the runners. No request may enter any more. */
  async retire(): Promise<void> {
    if (this.#open > 0)
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    await this.fleet.close();
  }

  /** Stops the runners; requests inside fail. */
  close(): Promise<void> {
    return this.fleet.close();
  }
}

/** The bundle, verified and its models tried out, as far as the record of earlier starts does not say so already. */
async function openVerified({ config, log, variants }: GenerationOptions): Promise<OpenBundle> {
  const record = await VerificationRecord.open(config.store.path, { fresh: config.verify, log });
  const bundle = await openBundle(config.bundle, record);
  await admitModels(bundle, { runners: config.runners, log, record, variants });
  await record.save();
  return bundle;
}

function readKnownUsers({ directory, manifest }: OpenBundle): Promise<readonly UserHistory[]> {
  return manifest.users === undefined ? Promise.resolve([]) : readUsers(join(directory, manifest.users.file));
}
