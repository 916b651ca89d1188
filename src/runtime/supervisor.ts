import { setTimeout as delay } from 'node:timers/promises';
import { toWhittleError, WhittleError } from '../core/index.js';
import type { Meta } from './frame.js';
import type { RunnerRequest, RunnerResponse } from './protocol.js';
import { Readiness } from './readiness.js';
import { RunnerProcess } from './runner-process.js';
import type { RunnerExit, RunnerProcessOptions } from './runner-process.js';

export interface SupervisorOptions extends Omit<RunnerProcessOptions, 'startTimeoutMs'> {
  /** A runner that is not ready after this long is killed. Default 60,000. */
  readonly startTimeoutMs?: number;
  /** Wait before the second restart in a row; doubles with each. The first is at once. Default 100. */
  readonly backoffMs?: number;
  /** Longest wait before a restart. Default 10,000. */
  readonly maxBackoffMs?: number;
  /** A runner that lived this long starts the count of failures anew. Default 30,000. */
  readonly stableAfterMs?: number;
  /** An idle runner is pinged this often, so that a hung one is replaced before a request meets it. Default 5,000. */
  readonly pingIntervalMs?: number;
  /** Time that `stop` gives the runner to finish its run. Default 5,000. */
  readonly stopTimeoutMs?: number;
  readonly onEvent?: (event: RunnerEvent) => void;
}

export type RunnerEvent =
  | { readonly kind: 'ready'; readonly pid: number; readonly restarts: number }
  | { readonly kind: 'exited'; readonly pid: number; readonly exit: RunnerExit }
  | { readonly kind: 'start_failed'; readonly error: WhittleError };

/**
 * `starting` until first ready; `restarting` between a runner's end and its replacement's readiness; `failed` when it was
 * taken out of service and is not started again.
 */
export type RunnerState = 'starting' | 'ready' | 'restarting' | 'failed' | 'stopped';

export interface RunnerProcessStatus {
  readonly name: string;
  readonly state: RunnerState;
  readonly pid?: number;
  readonly restarts: number;
}

const DEFAULTS = {
  startTimeoutMs: 60_000,
  backoffMs: 100,
  maxBackoffMs: 10_000,
  stableAfterMs: 30_000,
  pingIntervalMs: 5_000,
  stopTimeoutMs: 5_000,
};

/** Keeps one runner alive: replaces it when it crashes or hangs, with growing waits, until it is stopped. */
export class Supervisor {
  readonly #options: SupervisorOptions & typeof DEFAULTS;
  readonly #stopping = new AbortController();
  readonly #pinger: NodeJS.Timeout;
  #state: RunnerState = 'starting';
  /** The runner that takes requests; undefined from the moment its end is known. */
  #process: RunnerProcess | undefined;
  #readiness = new Readiness();
  /** Ends of runners without a stable life in between. */
  #failures = 0;
  #restarts = 0;
  /** Why it was taken out of service. */
  #failure: WhittleError | undefined;
  /** Settles when no process is left. */
  #life: Promise<void> = Promise.resolve();

  constructor(options: SupervisorOptions) {
    this.#options = { ...DEFAULTS, ...options };
    this.#pinger = setInterval(() => {
      // A failed ping is the runner's end, which is seen elsewhere.
      if (this.#process?.inFlight === 0) this.#process.ping().catch(() => undefined);
    }, this.#options.pingIntervalMs).unref();
  }

  /**
   * Starts the first runner. Its failure is final: what cannot start once is misconfigured.
   * @throws RUNNER_START_FAILED
   */
  async start(): Promise<void> {
    const starting = RunnerProcess.start(this.#options, this.#stopping.signal);
    this.#life = starting.then(
      (process) => this.#supervise(process),
      () => {
        this.#retire('stopped');
      },
    );
    await starting;
  }

  /** Undefined when the runner is ready; else settles when it is, or rejects with NOT_READY when it will not be. */
  whenReady(): Promise<void> | undefined {
    return this.#state === 'ready' ? undefined : this.#readiness.promise;
  }

  /**
   * Runs a request; its buffers must not change until it settles.
   * @throws NOT_READY while there is no runner, RUNNER_FAILED when it ends during the run, the handler's own error, or
   * what `fail` was given.
   */
  async run(request: RunnerRequest): Promise<RunnerResponse> {
    if (this.#process === undefined) throw this.#failure ?? this.#notReady();
    return this.#process.run(request);
  }

  get isReady(): boolean {
    return this.#process !== undefined;
  }

  /** Calls that wait for the runner's answer. */
  get inFlight(): number {
    return this.#process?.inFlight ?? 0;
  }

  /** What the runner said of itself when it was ready; undefined while there is none. */
  get info(): Meta | undefined {
    return this.#process?.info;
  }

  status(): RunnerProcessStatus {
    const { name } = this.#options;
    const running = this.#process === undefined ? {} : { pid: this.#process.pid };
    return { name, state: this.#state, restarts: this.#restarts, ...running };
  }

  /** Ends the runner, after the run it is in, and starts no other. Settles when no process is left. */
  stop(): Promise<void> {
    return this.#end('stopped');
  }

  /** Takes the runner out of service: as `stop`, but calls and waits are answered with `failure`. */
  fail(failure: WhittleError): Promise<void> {
    this.#failure = failure;
    return this.#end('failed');
  }

  async #end(state: 'failed' | 'stopped'): Promise<void> {
    const process = this.#process;
    this.#retire(state);
    await process?.stop(this.#options.stopTimeoutMs);
    await this.#life;
  }

  #retire(state: 'failed' | 'stopped'): void {
    this.#becomeUnready();
    this.#state = state;
    this.#readiness.fail(this.#failure ?? this.#notReady());
    clearInterval(this.#pinger);
    this.#stopping.abort();
  }

  #retired(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #supervise(first: RunnerProcess): Promise<void> {
    let process: RunnerProcess | undefined = first;
    while (process !== undefined) {
      if (this.#retired()) return process.stop(this.#options.stopTimeoutMs);
      this.#becomeReady(process);
      const readyAt = performance.now();
      const exit: RunnerExit = await process.exited;
      if (performance.now() - readyAt >= this.#options.stableAfterMs) this.#failures = 0;
      this.#emit({ kind: 'exited', pid: process.pid, exit });
      process = await this.#replacement();
    }
  }

  #becomeReady(process: RunnerProcess): void {
    this.#state = 'ready';
    this.#process = process;
    process.onEnding(() => {
      this.#becomeUnready();
    });
    this.#emit({ kind: 'ready', pid: process.pid, restarts: this.#restarts });
    this.#readiness.succeed();
  }

  #becomeUnready(): void {
    this.#process = undefined;
    if (this.#state !== 'ready') return;
    this.#state = 'restarting';
    this.#readiness = new Readiness();
  }

  /** The next runner that starts; undefined once this supervisor is stopped. */
  async #replacement(): Promise<RunnerProcess | undefined> {
    const { signal } = this.#stopping;
    while (!this.#retired()) {
      try {
        await delay(this.#backoffMs(), undefined, { signal });
        this.#restarts += 1;
        return await RunnerProcess.start(this.#options, signal);
      } catch (thrown) {
        if (!this.#retired()) this.#emit({ kind: 'start_failed', error: toWhittleError(thrown) });
      }
    }
    return undefined;
  }

  #backoffMs(): number {
    const { backoffMs, maxBackoffMs } = this.#options;
    const failures = this.#failures++;
    return failures === 0 ? 0 : Math.min(maxBackoffMs, backoffMs * 2 ** (failures - 1));
  }

  #emit(event: RunnerEvent): void {
    const { log, name, onEvent } = this.#options;
    const { kind, ...fields } = event;
    if (kind === 'ready') log.info('runner_ready', { runner: name, ...fields });
    else log.warn(`runner_${kind}`, { runner: name, ...fields });
    onEvent?.(event);
  }

  #notReady(): WhittleError {
    const { name } = this.#options;
    return new WhittleError('NOT_READY', `Runner ${name} is ${this.#state}`, {
      runner: name,
      state: this.#state,
    });
  }
}
