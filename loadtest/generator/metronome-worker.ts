import { parentPort, type MessagePort } from 'node:worker_threads';
import { must } from '../../src/core/index.js';
import { monotonicMs, type Beats } from './metronome.js';

/** It wakes this long before an arrival is due, as waking up and the message take some 50 µs more than that. */
const LEAD_MS = 0.03;
const never = new Int32Array(new SharedArrayBuffer(4));

/**
 * Sleeps until an arrival is due and says so, again and again. A thread of its own can sleep to within tens of
 * microseconds; a timer of the event loop has whole milliseconds.
 */
function beat(port: MessagePort, { times, startMs }: Beats): void {
  let place = 0;
  while (place < times.length) {
    const waitMs = startMs + must(times[place], 'arrival') - LEAD_MS - monotonicMs();
    if (waitMs > 0) Atomics.wait(never, 0, 0, waitMs);
    port.postMessage(undefined);
    // One beat serves all arrivals that are due by then.
    const dueMs = monotonicMs() + LEAD_MS - startMs;
    while (place < times.length && must(times[place], 'arrival') <= dueMs) place++;
  }
}

const port = must(parentPort, 'port to the main thread');
port.on('message', (beats: Beats) => {
  beat(port, beats);
});
// The first message says that it listens.
port.postMessage(undefined);
