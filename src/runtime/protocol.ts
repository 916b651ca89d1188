import { ERROR_CODES, toWhittleError, WhittleError } from '../core/index.js';
import type { ErrorCode, ErrorDetails, TensorMap } from '../core/index.js';
import type { Frame, Meta } from './frame.js';

/** What a runner is asked: tensors, and plain JSON that says what to do with them. */
export interface RunnerRequest {
  readonly meta: Meta;
  readonly tensors: TensorMap;
}

/** What a runner answers. */
export type RunnerResponse = RunnerRequest;

/**
 * The gateway asks, the runner answers each frame with one of the same id:
 * - `start`: meta is `{spec}`; answered once the models are open, meta is the runner's description of itself
 * - `run`: answered in the order asked
 * - `ping`: answered at once
 * - `shutdown`: answered when every run before it is; then the runner exits
 */
export type RequestKind = 'start' | 'run' | 'ping' | 'shutdown';

/** Descriptor of the socket in the runner: a Unix socket pair made at spawn, so no path, no listener, no stranger. */
export const SOCKET_DESCRIPTOR = 3;

/** The answer frame for a thrown error: code, message and details survive, the cause does not. */
export function failureFrame(id: number, thrown: unknown): Frame {
  const { code, message, details } = toWhittleError(thrown);
  return { id, kind: 'failed', meta: { code, message, details }, tensors: {} };
}

/** The error that a `failed` frame carries. */
export function failureOf(frame: Frame): WhittleError {
  const { code, message, details } = frame.meta as {
    readonly code: string;
    readonly message: string;
    readonly details: ErrorDetails;
  };
  return new WhittleError(isErrorCode(code) ? code : 'INTERNAL', message, details);
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}
