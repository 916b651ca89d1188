import { createRandom, must } from '../../src/core/index.js';
import { Connections } from './connections.js';
import { weightedDraw } from './draw.js';
import { requestEncoder } from './encode-request.js';
import { monotonicMs, type Metronome } from './metronome.js';
import type { LoadPlan, LoadProgress, LoadResult } from './plan.js';
import { Recorder, type Flight } from './recorder.js';
import { arrivalTimes } from './schedule.js';

/** Arrivals this near are waited for in the event loop: the metronome has no finer beat. */
const NEAR_MS = 0.06;
/** Between the decision to start and the first arrival. */
const START_DELAY_MS = 20;
const SWEEP_MS = 50;
const PROGRESS_MS = 1_000;

/**
 * Sends requests on a schedule, whatever becomes of those before, and counts latency from the scheduled moment: a server
 * that stalls, or a generator that is late, cannot hide it. Settles when every request has been answered or given up.
 *
 * @throws USAGE_INVALID for more arrivals than a schedule may have.
 */
export async function runOpenLoop(
  plan: LoadPlan,
  metronome: Metronome,
  onProgress: (progress: LoadProgress) => void,
): Promise<LoadResult> {
  const run = new OpenLoop(plan);
  const cpuBefore = process.cpuUsage();
  const progress = setInterval(() => onProgress(run.progress()), PROGRESS_MS);
  const sweep = setInterval(() => run.giveUp(), SWEEP_MS);
  try {
    await run.drive(metronome);
  } finally {
    clearInterval(progress);
    clearInterval(sweep);
    run.close();
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  return { ...run.result(), cpuSeconds: (user + system) / 1e6 };
}

class OpenLoop {
  readonly #plan: LoadPlan;
  readonly #times: Float64Array;
  readonly #recorder: Recorder;
  readonly #connections: Connections;
  readonly #encode: (request: number, trafficClass: number) => Buffer;
  readonly #drawRequest: () => number;
  readonly #drawClass: () => number;
  /** Ends of the segments, milliseconds after the start. */
  readonly #segmentEndsMs: readonly number[];
  #startMs = 0;
  #next = 0;
  #segment = 0;
  #looksAgain = false;
  #open = 0;
  #answered = 0;
  #notSent = 0;
  #whenDone: () => void = () => undefined;

  constructor(plan: LoadPlan) {
    const random = createRandom(plan.seed);
    this.#plan = plan;
    this.#times = shared(arrivalTimes(plan.segments, plan.arrivals, random.fork('arrivals')));
    this.#recorder = new Recorder(plan);
    this.#connections = new Connections(plan.host, plan.port);
    this.#encode = requestEncoder(plan);
    const weightsOf = (list: readonly { readonly weight: number }[]): number[] =>
      list.map(({ weight }) => weight);
    this.#drawRequest = weightedDraw(weightsOf(plan.requests), random.fork('requests'));
    this.#drawClass = weightedDraw(weightsOf(plan.classes), random.fork('classes'));
    let endMs = 0;
    this.#segmentEndsMs = plan.segments.map(({ seconds }) => (endMs += seconds * 1000));
  }

  drive(metronome: Metronome): Promise<void> {
    return new Promise((resolve) => {
      this.#whenDone = resolve;
      this.#startMs = performance.now() + START_DELAY_MS;
      const startMs = monotonicMs() + (this.#startMs - performance.now());
      metronome.start({ times: this.#times, startMs }, this.#sendDue);
      this.#finishIfDone();
    });
  }

  progress(): LoadProgress {
    return { scheduled: this.#times.length, sent: this.#next, answered: this.#answered };
  }

  giveUp(): void {
    this.#connections.giveUp(performance.now() - this.#plan.timeoutMs);
  }

  result(): Omit<LoadResult, 'cpuSeconds'> {
    return {
      groups: this.#recorder.groups(),
      seconds: this.#recorder.seconds(),
      notSent: this.#notSent,
      connections: this.#connections.most,
    };
  }

  close(): void {
    this.#connections.close();
  }

  readonly #sendDue = (): void => {
    let nowMs = performance.now() - this.#startMs;
    let dueMs = this.#times[this.#next];
    while (dueMs !== undefined && dueMs <= nowMs) {
      this.#send(dueMs);
      dueMs = this.#times[++this.#next];
      nowMs = performance.now() - this.#startMs;
    }
    if (dueMs === undefined) this.#finishIfDone();
    else if (dueMs - nowMs < NEAR_MS) this.#lookAgain();
  };

  /** Comes back in the next turn of the event loop, which reads answers in between. */
  #lookAgain(): void {
    if (this.#looksAgain) return;
    this.#looksAgain = true;
    setImmediate(() => {
      this.#looksAgain = false;
      this.#sendDue();
    });
  }

  #send(dueMs: number): void {
    while (
      dueMs >= must(this.#segmentEndsMs[this.#segment], 'segment') &&
      this.#segment < this.#segmentEndsMs.length - 1
    )
      this.#segment += 1;
    const flight: Flight = { dueMs, segment: this.#segment, class: this.#drawClass() };
    const request = this.#encode(this.#drawRequest(), flight.class);
    this.#recorder.sent(flight, performance.now() - this.#startMs - dueMs);
    this.#open += 1;
    const isSent = this.#connections.send(request, (outcome) => {
      if (typeof outcome === 'string') this.#recorder.lost(flight, outcome);
      else {
        this.#answered += 1;
        this.#recorder.answered(flight, outcome, performance.now() - this.#startMs - dueMs);
      }
      this.#open -= 1;
      this.#finishIfDone();
    });
    if (isSent) return;
    this.#notSent += 1;
    this.#open -= 1;
  }

  #finishIfDone(): void {
    if (this.#open === 0 && this.#next === this.#times.length) this.#whenDone();
  }
}

/** A copy that a worker thread can read. */
function shared(values: Float64Array): Float64Array {
  const copy = new Float64Array(new SharedArrayBuffer(values.byteLength));
  copy.set(values);
  return copy;
}
