import { must, WhittleError } from '../core/index.js';
import { CrashWindow } from './crash-window.js';
import type { Meta } from './frame.js';
import type { RunnerRequest, RunnerResponse } from './protocol.js';
import { Readiness } from './readiness.js';
import { Supervisor } from './supervisor.js';
import type { RunnerEvent, RunnerProcessStatus, RunnerState, SupervisorOptions } from './supervisor.js';

export interface RunnerPoolOptions extends SupervisorOptions {
  /** Runners at the start. */
  readonly size: number;
  /** With this many crashes, hangs and failed restarts within a minute the pool is taken out of service. */
  readonly maxCrashesPerMinute: number;
}

/** State of a pool as a whole: that of its best runner. */
export interface RunnerPoolStatus extends RunnerProcessStatus {
  /** Why it is out of service, where it is. */
  readonly reason?: string;
  readonly processes: readonly RunnerProcessStatus[];
}

/** States from best to worst. */
const STATES: readonly RunnerState[] = ['ready', 'restarting', 'starting', 'failed', 'stopped'];

/**
 * Equal runners of one model. A call goes to the ready runner with the fewest calls in flight; a runner that ends costs
 * its own calls, and is replaced. Too many ends within a minute, whichever runners they hit, take the whole pool out:
 * what kills one runner that often is the model or its requests, and would kill the next.
 */
export class RunnerPool {
  readonly #options: RunnerPoolOptions;
  readonly #crashes = new CrashWindow();
  #supervisors: Supervisor[] = [];
  /** Numbers runners, so that no two have one name. */
  #made = 0;
  /** What waits for any runner to be ready. */
  #readiness: Readiness | undefined;
  /** Why no runner will be ready again. */
  #ended: WhittleError | undefined;
  /** Settles when the processes of a pool that failed are gone. */
  #failing: Promise<unknown> = Promise.resolve();
  /** Settles when removed runners are gone. */
  #leaving: Promise<unknown> = Promise.resolve();
  /** Restarts of removed runners. */
  #pastRestarts = 0;

  constructor(options: RunnerPoolOptions) {
    this.#options = options;
    for (let place = 0; place < options.size; place++) this.#supervisors.push(this.#supervisor());
  }

  /**
   * Starts all runners at once; where one fails, the others are stopped.
   * @throws RUNNER_START_FAILED
   */
  async start(): Promise<void> {
    const outcomes = await Promise.allSettled(this.#supervisors.map((supervisor) => supervisor.start()));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) return;
    await this.stop();
    throw failed.reason;
  }

  /** Runners, ready or not. */
  get size(): number {
    return this.#supervisors.length;
  }

  /**
   * Adds a runner; settles when it takes calls.
   * @throws RUNNER_START_FAILED, and is as before then; NOT_READY or RUNNER_FAILED once the pool has ended.
   */
  async grow(): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    const supervisor = this.#supervisor();
    this.#supervisors.push(supervisor);
    try {
      await supervisor.start();
    } catch (thrown) {
      this.#remove(supervisor);
      throw thrown;
    }
  }

  /** Removes a runner after its calls are answered, but never the last; settles when its process is gone. */
  async shrink(): Promise<void> {
    const supervisor = this.#supervisors.at(-1);
    if (supervisor === undefined || this.#supervisors.length === 1) return;
    this.#remove(supervisor);
    this.#leaving = Promise.all([this.#leaving, supervisor.stop()]);
    await this.#leaving;
  }

  #remove(supervisor: Supervisor): void {
    this.#supervisors = this.#supervisors.filter((one) => one !== supervisor);
    this.#pastRestarts += supervisor.status().restarts;
  }

  /** Runners that take calls. */
  get readyCount(): number {
    let count = 0;
    for (const supervisor of this.#supervisors) if (supervisor.isReady) count += 1;
    return count;
  }

  /** Undefined while a runner is ready; else settles when one is, or rejects with what `run` would throw. */
  whenReady(): Promise<void> | undefined {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.readyCount > 0) return undefined;
    this.#readiness ??= new Readiness();
    return this.#readiness.promise;
  }

  /**
   * Runs a request on the least busy runner; its buffers must not change until it settles.
   * @throws NOT_READY while there is no runner, RUNNER_FAILED when the runner ends during the run or the pool is out of
   * service, or the handler's own error.
   */
  run(request: RunnerRequest): Promise<RunnerResponse> {
    let best: Supervisor | undefined;
    for (const supervisor of this.#supervisors) {
      if (!supervisor.isReady) continue;
      if (best === undefined || supervisor.inFlight < best.inFlight) best = supervisor;
    }
    if (best !== undefined) return best.run(request);
    return Promise.reject(this.#ended ?? this.#notReady(this.status().state));
  }

  /** What a runner said of itself when it was ready; undefined while there is none. */
  get info(): Meta | undefined {
    return this.#supervisors.find(({ isReady }) => isReady)?.info;
  }

  /** The best runner's state and process, and the restarts of all. */
  status(): RunnerPoolStatus {
    const processes = this.statuses();
    const rank = ({ state }: RunnerProcessStatus): number => STATES.indexOf(state);
    const best = must([...processes].sort((a, b) => rank(a) - rank(b))[0], 'a runner');
    return {
      ...best,
      name: this.#options.name,
      restarts: processes.reduce((sum, { restarts }) => sum + restarts, this.#pastRestarts),
      ...(best.state === 'failed' && this.#ended !== undefined ? { reason: this.#ended.message } : {}),
      processes,
    };
  }

  /** Each runner's state. */
  statuses(): RunnerProcessStatus[] {
    return this.#supervisors.map((supervisor) => supervisor.status());
  }

  /** Ends all runners, each after the run it is in. Settles when no process is left. */
  async stop(): Promise<void> {
    this.#end(this.#notReady('stopped'));
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()));
    await Promise.all([this.#failing, this.#leaving]);
  }

  #supervisor(): Supervisor {
    this.#made += 1;
    const name = this.#made === 1 ? this.#options.name : `${this.#options.name}#${this.#made}`;
    return new Supervisor({
      ...this.#options,
      name,
      onEvent: (event) => {
        this.#react(event);
        this.#options.onEvent?.(event);
      },
    });
  }

  #react(event: RunnerEvent): void {
    if (event.kind === 'ready') {
      this.#readiness?.succeed();
      this.#readiness = undefined;
    } else if (event.kind === 'start_failed') this.#countCrash(event.error.message);
    else if (event.exit.reason !== 'stopped') this.#countCrash(`it ${describeExit(event)}`);
  }

  #countCrash(last: string): void {
    const { name, maxCrashesPerMinute, log } = this.#options;
    const crashes = this.#crashes.add(performance.now());
    if (crashes < maxCrashesPerMinute || this.#ended !== undefined) return;
    const failure = new WhittleError(
      'RUNNER_FAILED',
      `Runner ${name} is out of service after ${crashes} crashes within a minute; the last: ${last}. Reload the bundle to try again`,
      { runner: name, crashes, maxCrashesPerMinute, last },
    );
    log.error('runner_out_of_service', { runner: name, crashes, last });
    this.#end(failure);
    this.#failing = Promise.all(this.#supervisors.map((supervisor) => supervisor.fail(failure)));
  }

  #end(reason: WhittleError): void {
    this.#ended ??= reason;
    this.#readiness?.fail(this.#ended);
  }

  #notReady(state: RunnerState): WhittleError {
    const { name } = this.#options;
    return new WhittleError('NOT_READY', `Runner ${name} is ${state}`, { runner: name, state });
  }
}

function describeExit({ exit }: Extract<RunnerEvent, { kind: 'exited' }>): string {
  if (exit.reason === 'hung') return 'hung and was killed';
  return `crashed (${exit.signal ?? `exit code ${exit.exitCode ?? 'unknown'}`})`;
}
