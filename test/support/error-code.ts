import { WhittleError, type ErrorCode } from '../../src/core/index.js';

function codeOf(thrown: unknown): ErrorCode {
  if (thrown instanceof WhittleError) return thrown.code;
  throw thrown;
}

/** The code of the {@link WhittleError} that `run` throws, undefined where it does not; other errors pass through. */
export function errorCode(run: () => unknown): ErrorCode | undefined {
  try {
    run();
  } catch (thrown) {
    return codeOf(thrown);
  }
  return undefined;
}

/** The same for a promise. */
export async function rejectionCode(promise: Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await promise;
  } catch (thrown) {
    return codeOf(thrown);
  }
  return undefined;
}
