import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** What the thread needs: arrivals as milliseconds after `startMs` of the {@link monotonicMs} clock. */
export interface Beats {
  /** Backed by shared memory. */
  readonly times: Float64Array;
  readonly startMs: number;
}

/** Wakes the event loop when arrivals are due. */
export interface Metronome {
  /** Calls `onBeat` shortly before each arrival is due; arrivals that lie close together share a beat. */
  start(beats: Beats, onBeat: () => void): void;
  stop(): Promise<void>;
}

/** A clock that all threads of a process share, milliseconds. */
export function monotonicMs(): number {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1e3 + nanos / 1e6;
}

/** Starts the thread and waits until it runs. */
export async function createMetronome(): Promise<Metronome> {
  const worker = startWorker();
  await once(worker, 'message');
  return {
    start: (beats, onBeat) => {
      worker.removeAllListeners('message');
      worker.on('message', onBeat);
      worker.postMessage(beats);
    },
    stop: async () => {
      await worker.terminate();
    },
  };
}

/** Tests run the sources, so the thread must too; it does not take over the loader of this one. */
function startWorker(): Worker {
  if (import.meta.url.endsWith('.js')) return new Worker(new URL('./metronome-worker.js', import.meta.url));
  const { href } = new URL('./metronome-worker.ts', import.meta.url);
  const load = `import('tsx/esm/api').then(({ register }) => (register(), import(${JSON.stringify(href)})))`;
  return new Worker(load, { eval: true });
}
