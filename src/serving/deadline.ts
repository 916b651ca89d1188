import { WhittleError } from '../core/index.js';

/** A timer above this fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Settles as `work` does, but at `deadlineAt` (on the `performance.now()` clock) rejects where it has not: queues drop
 * what waits too long, and this answers for what is stuck inside a runner.
 * @throws DEADLINE_EXCEEDED, or what `work` throws.
 */
export async function beforeDeadline<T>(work: Promise<T>, deadlineAt: number): Promise<T> {
  const waitMs = Math.min(LONGEST_TIMER_MS, Math.ceil(deadlineAt - performance.now()));
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new WhittleError('DEADLINE_EXCEEDED', 'The deadline passed while a runner had the request'));
    }, waitMs);
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}
