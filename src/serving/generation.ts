import { realpath } from 'node:fs/promises';
import {
  checkUnchanged,
  readManifest,
  VerificationRecord,
  type Log,
  type ServerConfig,
} from '../core/index.js';
import type { UserHistory } from '../data/index.js';
import { admitModels } from './admit-models.js';
import { AnswerCache } from './answer-cache.js';
import { openBundle, type OpenBundle } from './bundle.js';
import { EvidenceBook } from './evidence.js';
import { readKnownUsers } from './calibration-requests.js';
import { bundleVersion, Fleet } from './fleet.js';
import { checkGoldenRequests } from './golden-requests.js';
import type { BatchReport } from './runner-options.js';
import { Shadow } from './shadow.js';
import type { Observation, UserEvent } from './types.js';

export interface GenerationOptions {
  readonly config: ServerConfig;
  readonly log: Log;
  /** Variants to start; default: all of the bundle. */
  readonly variants?: readonly string[];
  readonly observe: (observation: Observation) => void;
  /** Pipelines that traffic is sent to, and that must be there. */
  readonly pipelines: readonly string[];
  /** The generation that serves while this one is opened. */
  readonly previous?: Generation;
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
    { config, observe, previous }: GenerationOptions,
  ) {
    this.bundle = bundle;
    this.users = users;
    this.fleet = fleet;
    this.version = bundleVersion(bundle);
    this.cache = new AnswerCache(config.cache, this.version);
    const evidence = previous?.shadow.evidence ?? new EvidenceBook();
    this.shadow = new Shadow({ config, bundle, fleet, evidence, observe });
  }

  /**
   * Reads and verifies the bundle, tries out its models and starts its runners, but for those of `previous` that would
   * serve the same. What takes the place of a generation that serves must also pass golden requests, and is warm then.
   * @throws what {@link openBundle}, {@link admitModels}, {@link Fleet.start} and {@link checkGoldenRequests} throw,
   * NOT_FOUND where one of `pipelines` is not served; nothing that was started is left running then.
   */
  static async open(options: GenerationOptions): Promise<Generation> {
    const { config, log, variants, observe, pipelines } = options;
    const previous = options.previous?.fleet;
    const bundle = await openVerified(options);
    // Read while the runners start; where they do not, nobody asks for the users.
    const users = knownUsers(bundle, options.previous);
    users.catch(() => undefined);
    const onBatch = (batch: BatchReport): void => {
      observe({ kind: 'batch', ...batch });
    };
    const { runners, overload } = config;
    const fleet = await Fleet.start(bundle, { runners, overload, log, onBatch }, { variants, previous });
    try {
      // The runners have opened their files by now: those that were verified.
      await checkUnchanged(bundle.directory, bundle.verified);
      for (const name of pipelines) fleet.pipeline(name);
      if (previous !== undefined) await checkGoldenRequests(bundle, fleet, await users);
      return new Generation(bundle, await users, fleet, options);
    } catch (thrown) {
      await fleet.close(previous);
      throw thrown;
    }
  }

  /**
   * Whether `folder` still holds what this generation was opened from, and all its runners can serve it.
   * @throws what reading bundle.json throws.
   */
  async isCurrent(folder: string): Promise<boolean> {
    const { directory, verified } = this.bundle;
    if (this.fleet.hasFailed) return false;
    if ((await realpath(folder).catch(() => folder)) !== directory) return false;
    if (bundleVersion({ manifest: await readManifest(directory) }) !== this.version) return false;
    return checkUnchanged(directory, verified).then(
      () => true,
      () => false,
    );
  }

  /** What a user did with an item: a label for what was answered before. A view is none, nor an item that has gone. */
  engage({ user, item, type, requestId, timeMs }: UserEvent & { readonly timeMs: number }): void {
    const row = this.bundle.catalogue.rowOf(item);
    if (row === undefined || type === 'view') return;
    this.shadow.engage({ user, row, timeMs, ...(requestId === undefined ? {} : { requestId }) });
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

  /** Waits for the requests inside, then stops the runners that `next` does not use. No request may enter any more. */
  async retire(next: Generation): Promise<void> {
    if (this.#open > 0)
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    await this.fleet.close(next.fleet);
  }

  /** Stops the runners that `other` does not use; requests inside fail. */
  close(other?: Generation): Promise<void> {
    return this.fleet.close(other?.fleet);
  }
}

/** The bundle, verified and its models tried out, as far as the record of earlier starts does not say so already. */
async function openVerified({ config, log, variants, previous }: GenerationOptions): Promise<OpenBundle> {
  const record = await VerificationRecord.open(config.store.path, { fresh: config.verify, log });
  const bundle = await openBundle(config.bundle, record, previous?.bundle);
  await admitModels(bundle, { runners: config.runners, log, record, variants });
  await record.save();
  return bundle;
}

/** Read only where they are others than those of the generation before. */
function knownUsers(bundle: OpenBundle, previous: Generation | undefined): Promise<readonly UserHistory[]> {
  const usersHash = ({ manifest: { users, files } }: OpenBundle): string | undefined =>
    users === undefined ? undefined : files[users.file]?.sha256;
  const isSame = previous !== undefined && usersHash(previous.bundle) === usersHash(bundle);
  return isSame ? Promise.resolve(previous.users) : readKnownUsers(bundle);
}
