import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { beforeDeadline } from '../../src/serving/deadline.js';
import { rejectionCode } from '../support/error-code.js';

test('work is answered for at its deadline, finished or not', async () => {
  const never = new Promise<never>(() => undefined);
  expect(await rejectionCode(beforeDeadline(never, performance.now() + 5))).toBe('DEADLINE_EXCEEDED');
  expect(await rejectionCode(beforeDeadline(never, performance.now() - 5))).toBe('DEADLINE_EXCEEDED');
  expect(await beforeDeadline(Promise.resolve(3), performance.now() + 60_000)).toBe(3);
  expect(await beforeDeadline(delay(20, 4), Infinity)).toBe(4);
  await expect(beforeDeadline(Promise.reject(new Error('of its own')), Infinity)).rejects.toThrow(
    'of its own',
  );
  // A failure that comes after the deadline was answered has nobody left to hear it, and ends no process.
  const late = delay(20).then(() => Promise.reject(new Error('late')));
  expect(await rejectionCode(beforeDeadline(late, performance.now() + 1))).toBe('DEADLINE_EXCEEDED');
  await delay(40);
});
