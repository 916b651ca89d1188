import { WhittleError } from '../core/index.js';

/**
 * Settles as `work` does, but at `deadlineAt` (on the `performance.now()` clock) rejects where it has not: queues drop
 * what waits too long, and this answers for what is stuck inside a runner.
 * @throws DEADLINE_EXCEEDED, or what `work` throws.
 */
export async function beforeDeadline<T>(work: Promise<T>, deadlineAt: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => {
        reject(new WhittleError('DEADLINE_EXCEEDED', 'The deadline passed while a runner had the request'));
      },
      Math.ceil(deadlineAt - performance.now()),
    );
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}
