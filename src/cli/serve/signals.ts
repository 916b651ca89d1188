import type { Log } from '../../core/index.js';

/** A stop that takes longer ends by force. The issuer of the signal waits 10 s before it kills. */
const STOP_LIMIT_MS = 9_500;

/**
 * Settles at the first SIGTERM or SIGINT. From then on the process has 9.5 s to end by itself; after that, or at a
 * second such signal, it exits with code 1. Its children are ended by their own means when it exits.
 * @param hangup what to do at a SIGHUP before that; must not reject.
 */
export function untilStopSignal(log: Log, hangup: () => Promise<void>): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let stopping = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (stopping) exitNow(log, 'stop_forced', `a second signal, ${signal}`);
      stopping = true;
      log.info('stopping', { signal });
      limitStop(log);
      resolve(signal);
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', () => {
      if (!stopping) void hangup();
    });
  });
}

/** Ends the process by force where a stop that has begun takes too long. */
export function limitStop(log: Log): void {
  const timer = setTimeout(() => {
    exitNow(log, 'stop_timed_out', `not stopped after ${STOP_LIMIT_MS} ms`);
  }, STOP_LIMIT_MS);
  timer.unref();
}

/** Before a server can handle SIGHUP, it must not die of it. */
export function ignoreHangup(): void {
  process.on('SIGHUP', () => undefined);
}

function exitNow(log: Log, event: string, reason: string): never {
  log.error(event, { reason });
  process.exit(1);
}
