import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WriteHealth } from '../../src/store/write-health.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Times (ms from the start) of attempts over `spanMs` while none succeeds. */
async function attemptTimes(health: WriteHealth, attempts: number[], spanMs: number): Promise<number[]> {
  attempts.length = 0;
  health.failed('full');
  await vi.advanceTimersByTimeAsync(spanMs);
  return attempts.map((time) => time - (attempts[0] ?? 0));
}

it('tries again ever more rarely, tells each change once, and does not start over when it fails soon again', async () => {
  const attempts: number[] = [];
  const changes: unknown[] = [];
  let works = false;
  const health = new WriteHealth({
    retryMs: 100,
    now: () => Date.now(),
    onChange: (change) => changes.push(change),
    retry: () => {
      attempts.push(Date.now());
      return works ? Promise.resolve() : Promise.reject(new Error('still full'));
    },
  });
  expect(await attemptTimes(health, attempts, 4_000)).toEqual([0, 200, 600, 1400, 2400, 3400]);
  health.failed('another reason');
  expect(changes).toEqual([{ reason: 'full' }]);
  expect(health.failing?.reason).toBe('full');
  works = true;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(health.failing).toBeUndefined();
  expect(changes).toEqual([{ reason: 'full' }, { failedMs: 4_500 }]);

  works = false;
  expect(await attemptTimes(health, attempts, 2_500)).toEqual([0, 1000]);
  works = true;
  await vi.advanceTimersByTimeAsync(1_000);
  await vi.advanceTimersByTimeAsync(61_000);
  works = false;
  expect(await attemptTimes(health, attempts, 350)).toEqual([0, 200]);
  await health.stop();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(attempts).toHaveLength(2);
});
