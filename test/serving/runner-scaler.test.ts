import type { CpuInfo } from 'node:os';
import { beforeEach, describe, expect, it } from 'vitest';
import { createLog, WhittleError } from '../../src/core/index.js';
import { idleCores, RunnerScaler } from '../../src/serving/runner-scaler.js';

const TICK_MS = 1_000;
let size: number;
let freeCores: number;
let growing: () => Promise<void>;
let events: unknown[];
let scaler: RunnerScaler;

beforeEach(() => {
  size = 1;
  freeCores = 2;
  growing = () => Promise.resolve();
  events = [];
  scaler = new RunnerScaler({
    name: 'full',
    runners: {
      get size() {
        return size;
      },
      grow: async () => {
        await growing();
        size += 1;
      },
      shrink: () => {
        size -= 1;
        return Promise.resolve();
      },
    },
    maxSize: 3,
    waitLimitMs: 5,
    freeCores: () => freeCores,
    log: createLog({}, (line) => events.push((JSON.parse(line) as { event: string }).event)),
  });
});

/** Ticks of a load: each with batches of the given wait that keep `busy` runners busy. */
async function ticks(count: number, queueMs: number, busy: number): Promise<void> {
  for (let tick = 0; tick < count; tick++) {
    for (let batch = 0; batch < 10; batch++) scaler.observe({ queueMs, runMs: (busy * TICK_MS) / 10 });
    await scaler.tick(TICK_MS);
  }
}

describe('RunnerScaler', () => {
  it('adds a runner once jobs have waited for three seconds, and one more after three more', async () => {
    await ticks(2, 8, 1);
    expect(size).toBe(1);
    await ticks(1, 8, 1);
    expect(size).toBe(2);
    await ticks(2, 8, 2);
    expect(size).toBe(2);
    await ticks(20, 8, 2);
    expect(size).toBe(3);
    expect(events).toEqual(['runner_added', 'runner_added']);
  });

  it('does not for a burst, for short waits, or where no core is free', async () => {
    await ticks(2, 8, 1);
    await ticks(1, 1, 1);
    await ticks(2, 8, 1);
    await ticks(1, 0, 0);
    await ticks(20, 4, 1);
    freeCores = 0.4;
    await ticks(20, 50, 1);
    expect(size).toBe(1);
    freeCores = 0.6;
    await ticks(1, 50, 1);
    expect(size).toBe(2);
  });

  it('removes a runner after five minutes in which one less would be half idle, down to one', async () => {
    size = 3;
    await ticks(299, 0, 0.9);
    expect(size).toBe(3);
    // A busy second starts the time anew.
    await ticks(1, 0, 1.1);
    await ticks(299, 0, 0.9);
    expect(size).toBe(3);
    await ticks(1, 0, 0.9);
    expect(size).toBe(2);
    await ticks(1_000, 0, 0.6);
    expect(size).toBe(2);
    for (let tick = 0; tick < 1_000; tick++) await scaler.tick(TICK_MS);
    expect(size).toBe(1);
  });

  it('makes one change at a time, and lives on where a runner cannot be started', async () => {
    let fail: (error: Error) => void = () => undefined;
    growing = () =>
      new Promise((_, reject) => {
        fail = reject;
      });
    await ticks(2, 8, 1);
    const changing = ticks(1, 8, 1);
    await ticks(10, 8, 1);
    fail(new WhittleError('RUNNER_START_FAILED', 'no memory'));
    await changing;
    expect([size, events]).toEqual([1, ['runner_not_added']]);
    growing = () => Promise.resolve();
    await ticks(3, 8, 1);
    expect(size).toBe(2);
  });
});

describe('idleCores', () => {
  it('tells the cores that were idle since the last call', () => {
    const core = (idle: number, user: number): CpuInfo => ({
      model: '',
      speed: 0,
      times: { idle, user, nice: 0, sys: 0, irq: 0 },
    });
    const readings = [
      [core(100, 0), core(100, 0)],
      [core(200, 0), core(150, 50)],
      [core(200, 100), core(150, 150)],
      [core(200, 100), core(150, 150)],
    ];
    const free = idleCores(() => readings.shift() ?? []);
    expect([free(), free(), free()]).toEqual([1.5, 0, 0]);
  });
});
