/**
 * Every error a caller can meet. One row a code: what it means, the HTTP status it maps to, and whether the
 * same call may succeed later. `docs/errors.md` lists the same rows and a test keeps the two equal.
 */
export const ERROR_CODES = {
  // What the caller sent.
  INPUT_INVALID: {
    status: 400,
    retryable: false,
    summary: 'A field of the input has a value that is not allowed.',
  },
  INPUT_TOO_LARGE: { status: 413, retryable: false, summary: 'The input is larger than the limit.' },
  ITEM_UNKNOWN: { status: 400, retryable: false, summary: 'An item id is not in the catalogue.' },
  NOT_FOUND: { status: 404, retryable: false, summary: 'No such route, pipeline, variant or experiment.' },
  USAGE_INVALID: { status: 400, retryable: false, summary: 'A command was called with wrong arguments.' },
  // What is on disk.
  FILE_MISSING: { status: 500, retryable: false, summary: 'A file that is needed does not exist.' },
  FILE_CORRUPT: { status: 500, retryable: false, summary: 'A file cannot be read as what it should be.' },
  FILE_UNWRITABLE: {
    status: 500,
    retryable: false,
    summary: 'A file cannot be written: the disk is full, or its place does not allow it.',
  },
  HASH_MISMATCH: {
    status: 500,
    retryable: false,
    summary: 'A file differs from the SHA-256 its bundle records.',
  },
  CONFIG_INVALID: { status: 500, retryable: false, summary: 'The configuration file has a wrong field.' },
  BUNDLE_INVALID: {
    status: 500,
    retryable: false,
    summary: 'bundle.json has a wrong field or names what is not there, or a file is not a plain one.',
  },
  CONTRACT_MISMATCH: {
    status: 500,
    retryable: false,
    summary: 'A model does not have the inputs its contract binds.',
  },
  DATASET_INVALID: {
    status: 500,
    retryable: false,
    summary: 'A data set lacks a column or holds unusable rows.',
  },
  PACKAGE_MISSING: {
    status: 500,
    retryable: false,
    summary: 'An optional package is not installed or does not load.',
  },
  // Models.
  MODEL_INVALID: {
    status: 500,
    retryable: false,
    summary: 'An ONNX model cannot be decoded or is not well formed.',
  },
  MODEL_TOO_LARGE: {
    status: 500,
    retryable: false,
    summary: 'A model part is larger than one buffer can hold.',
  },
  GRAPH_UNSUPPORTED: {
    status: 500,
    retryable: false,
    summary: 'A graph uses something this operation cannot handle.',
  },
  GRADIENT_UNSUPPORTED: { status: 500, retryable: false, summary: 'A node has no gradient rule.' },
  TRAINING_DIVERGED: {
    status: 500,
    retryable: false,
    summary: 'The loss of a training step is not a finite number.',
  },
  RECIPE_INVALID: {
    status: 500,
    retryable: false,
    summary: 'A compression recipe has a wrong step or parameter.',
  },
  STATISTIC_UNDEFINED: {
    status: 500,
    retryable: false,
    summary: 'A statistic is not defined on this input.',
  },
  // Serving.
  OVERLOADED: {
    status: 503,
    retryable: true,
    summary: 'More requests came than can be answered in time.',
  },
  RATE_LIMITED: { status: 429, retryable: true, summary: 'A client sent more than its share.' },
  FORBIDDEN: { status: 403, retryable: false, summary: 'The admin token is missing or wrong.' },
  QUEUE_FULL: { status: 503, retryable: true, summary: 'The queue of a runner is full.' },
  DEADLINE_EXCEEDED: {
    status: 504,
    retryable: true,
    summary: 'The request passed its deadline before it was served.',
  },
  RUNNER_FAILED: {
    status: 503,
    retryable: true,
    summary: 'The runner crashed or hung, or did so too often.',
  },
  RUNNER_START_FAILED: { status: 500, retryable: false, summary: 'A runner could not be started.' },
  NOT_READY: { status: 503, retryable: true, summary: 'The server is starting or stopping.' },
  PORT_IN_USE: { status: 500, retryable: false, summary: 'Another process listens on the port.' },
  STORE_FAILED: { status: 503, retryable: true, summary: 'The event store could not be opened or written.' },
  INTERNAL: { status: 500, retryable: false, summary: 'A bug in Whittle.' },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Plain JSON that names the offending field, its value, what is allowed and what to do. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** The one error class. `code` is stable; `message` is one line for people; `details` is for programs. */
export class WhittleError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  readonly retryable: boolean;
  readonly status: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'WhittleError';
    this.code = code;
    this.details = details;
    this.retryable = ERROR_CODES[code].retryable;
    this.status = ERROR_CODES[code].status;
  }
}

/** Wraps anything thrown as a {@link WhittleError}; one that is already is returned as it is. */
export function toWhittleError(thrown: unknown, code: ErrorCode = 'INTERNAL'): WhittleError {
  if (thrown instanceof WhittleError) return thrown;
  return new WhittleError(code, thrown instanceof Error ? thrown.message : String(thrown), {}, thrown);
}

/** States what must hold unless Whittle has a bug. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new WhittleError('INTERNAL', `Assertion failed: ${message}`);
}

/** Narrows away `undefined` and `null` where the code guarantees a value; a miss is a bug. */
export function must<T>(value: T | undefined | null, what: string): T {
  assert(value !== undefined && value !== null, `${what} is missing`);
  return value;
}
