import cluster, { type Worker } from 'node:cluster';
import { must, WhittleError, type ExperimentConfig, type Log, type ServerConfig } from '../../core/index.js';
import { addPast, type GatewayReport, type GatheredReports } from '../../http/index.js';
import { CrashWindow } from '../../runtime/index.js';
import { Channel, plainFailure, type Handlers, type PlainFailure } from './channel.js';
import { GATEWAY_VARIABLE } from './gateway.js';
import type { GatewayCalls, StartOrder, SupervisorCalls } from './gateway-calls.js';

/** Time that a gateway has to answer a question that needs no work. */
export const ANSWER_TIMEOUT_MS = 5_000;

/** What is in force in every gateway, also in one that starts later. */
export interface InForce {
  readonly experiments: readonly ExperimentConfig[];
  readonly defaultPipeline: string | undefined;
}

/** One of the gateways: a place that a process holds, and after it another one. */
export interface Gateway {
  readonly place: number;
  readonly pid: number;
  readonly restarts: number;
  readonly channel: Channel<SupervisorCalls, GatewayCalls>;
}

interface Slot {
  readonly place: number;
  readonly crashes: CrashWindow;
  restarts: number;
  worker: Worker | undefined;
  /** Present while it serves. */
  gateway: Gateway | undefined;
  /** Why it does not serve. */
  reason: string;
  /** What it said last, as its counters are to outlive it. */
  report: GatewayReport | undefined;
  /** Why its start failed. */
  failure: PlainFailure | undefined;
}

/**
 * Starts gateway processes that share one port, replaces one that ends, and stops them together. The connections are
 * handed out in turn.
 */
export class Gateways {
  readonly #log: Log;
  readonly #quiet: boolean;
  readonly #slots: readonly Slot[];
  readonly #config: ServerConfig;
  #inForce: InForce;
  #past: readonly object[] = [];
  /** Whether an end is to be followed by a new start: between the first start and the stop. */
  #replacing = false;
  #whenLost: (reason: WhittleError) => void = () => undefined;
  /** Rejects when no gateway is left that may start again. */
  readonly lost: Promise<never>;

  constructor(config: ServerConfig, log: Log, quiet: boolean) {
    this.#config = config;
    this.#log = log;
    this.#quiet = quiet;
    this.#inForce = { experiments: config.experiments, defaultPipeline: undefined };
    this.#slots = Array.from({ length: config.gateways }, (_, place) => ({
      place,
      crashes: new CrashWindow(),
      restarts: 0,
      worker: undefined,
      gateway: undefined,
      reason: 'it starts',
      report: undefined,
      failure: undefined,
    }));
    this.lost = new Promise((_resolve, reject) => {
      this.#whenLost = reject;
    });
    this.lost.catch(() => undefined);
  }

  /**
   * Starts one gateway and, when it serves, the others: what is wrong with the bundle shows once.
   * @returns the URL. @throws why the first that could not start; none is left then.
   */
  async start(): Promise<string> {
    // Metrics hold numbers that JSON has no word for.
    cluster.setupPrimary({ serialization: 'advanced' });
    process.on('exit', () => {
      this.#kill();
    });
    const [first, ...others] = this.#slots;
    const url = await this.#launch(must(first, 'first gateway'));
    await Promise.all(others.map((slot) => this.#launch(slot)));
    this.#replacing = true;
    for (const slot of this.#slots) if (slot.gateway === undefined) this.#replace(slot);
    return url;
  }

  /** Those that serve now, in their order. */
  get serving(): readonly Gateway[] {
    return this.#slots.flatMap(({ gateway }) => (gateway === undefined ? [] : [gateway]));
  }

  /** Why places have no gateway at the moment. */
  get absent(): readonly Pick<Slot, 'restarts' | 'reason'>[] {
    return this.#slots.filter(({ gateway }) => gateway === undefined);
  }

  get inForce(): InForce {
    return this.#inForce;
  }

  /** What a gateway that starts from now on begins with. */
  set inForce(inForce: InForce) {
    this.#inForce = inForce;
  }

  /** Asks every gateway what it has to say; one that does not answer is left out. */
  async gather(): Promise<GatheredReports> {
    const reports = await Promise.all(
      this.#slots.map(async (slot) => {
        const report = await slot.gateway?.channel
          .call('report', undefined, ANSWER_TIMEOUT_MS)
          .catch((thrown: unknown) => {
            this.#log.warn('gateway_without_report', { place: slot.place, ...plainFailure(thrown) });
            return undefined;
          });
        if (report !== undefined) slot.report = report;
        return report;
      }),
    );
    return { reports: reports.filter((report) => report !== undefined), past: this.#past };
  }

  /** Lets every gateway finish what it has, and waits until all are gone. */
  async stop(): Promise<void> {
    this.#replacing = false;
    await Promise.all(
      this.#slots.map(async ({ worker, gateway }) => {
        if (worker === undefined || worker.isDead()) return;
        const ended = new Promise<number>((resolve) => worker.once('exit', resolve));
        if (gateway === undefined) worker.process.kill('SIGKILL');
        else gateway.channel.call('stop', undefined).catch(() => undefined);
        if ((await ended) !== 0) process.exitCode = 1;
      }),
    );
  }

  /** Starts the process of a slot. @returns its URL when it serves. @throws why it does not. */
  #launch(slot: Slot): Promise<string> {
    const worker = cluster.fork({ [GATEWAY_VARIABLE]: String(process.pid) });
    const orderedWith = this.#inForce;
    slot.worker = worker;
    slot.failure = undefined;
    return new Promise((resolve, reject) => {
      const channel: Gateway['channel'] = new Channel(
        (message) => worker.process.connected && worker.send(message as object),
        this.#handlersOf(slot, orderedWith, (url) => {
          const { place, restarts } = slot;
          slot.gateway = { place, pid: must(worker.process.pid, 'pid'), restarts, channel };
          if (orderedWith !== this.#inForce) void this.#catchUp(slot.gateway, worker);
          resolve(url);
        }),
      );
      worker.on('message', channel.receive);
      worker.once('exit', (code, signal) => {
        const reason = endReason(slot, code, signal);
        channel.close(reason);
        reject(reason);
        void this.#afterEnd(slot, code);
      });
    });
  }

  #handlersOf(slot: Slot, inForce: InForce, started: (url: string) => void): Handlers<SupervisorCalls> {
    const order = (): StartOrder => ({
      config: { ...this.#config, experiments: inForce.experiments },
      defaultPipeline: inForce.defaultPipeline,
      quiet: this.#quiet,
    });
    return {
      order: () => Promise.resolve(order()),
      started: (url) => {
        started(url);
        return Promise.resolve(undefined);
      },
      failed: (failure) => {
        slot.failure = failure;
        return Promise.resolve(undefined);
      },
      gather: () => this.gather(),
    };
  }

  /** What changed while a gateway started holds in it, too, or it starts again. */
  async #catchUp({ channel, pid }: Gateway, worker: Worker): Promise<void> {
    try {
      const { experiments, defaultPipeline } = this.#inForce;
      await channel.call('setExperiments', experiments, ANSWER_TIMEOUT_MS);
      if (defaultPipeline !== undefined)
        await channel.call('setDefaultPipeline', defaultPipeline, ANSWER_TIMEOUT_MS);
    } catch (thrown) {
      this.#log.error('gateway_out_of_step', { pid, reason: String(thrown) });
      worker.process.kill('SIGKILL');
    }
  }

  /** Replaces a gateway that ended, unless it crashes too often. */
  async #afterEnd(slot: Slot, code: number | null): Promise<void> {
    slot.gateway = undefined;
    slot.reason = 'it starts again';
    if (!this.#replacing) return;
    this.#log.error('gateway_ended', {
      place: slot.place,
      pid: slot.worker?.process.pid,
      code,
      ...slot.failure,
    });
    if (slot.report !== undefined) this.#past = await addPast(this.#past, slot.report.metrics);
    slot.report = undefined;
    const { maxCrashesPerMinute } = this.#config.runners;
    if (code !== 0 && slot.crashes.add(performance.now()) >= maxCrashesPerMinute) this.#giveUp(slot);
    else this.#replace(slot);
  }

  #replace(slot: Slot): void {
    if (!this.#replacing) return;
    slot.restarts += 1;
    this.#launch(slot).then(
      () => {
        this.#log.info('gateway_replaced', { place: slot.place, pid: slot.worker?.process.pid });
      },
      // Its end says why, and leads back here.
      () => undefined,
    );
  }

  #giveUp(slot: Slot): void {
    slot.worker = undefined;
    slot.reason = 'it crashed too often within a minute and is not started again';
    this.#log.error('gateway_given_up', { place: slot.place, reason: slot.reason });
    if (this.#slots.some(({ worker }) => worker !== undefined)) return;
    this.#whenLost(new WhittleError('RUNNER_FAILED', 'Every gateway crashed too often; see the log'));
  }

  #kill(): void {
    for (const { worker } of this.#slots) if (worker?.isDead() === false) worker.process.kill('SIGKILL');
  }
}

function endReason({ failure, place }: Slot, code: number | null, signal: string | null): WhittleError {
  if (failure !== undefined) return new WhittleError(failure.code, failure.message, failure.details);
  const how = signal ?? `exit code ${String(code)}`;
  return new WhittleError('NOT_READY', `Gateway ${place} ended (${how})`, { place });
}
