import type { FastifyReply } from 'fastify';
import { ERROR_CODES, type ErrorCode, type ErrorDetails } from '../core/index.js';

/** An answer to requests that are refused unread, prepared once: refusing must cost next to nothing. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly status: number;
  /** The error body up to the request's id. */
  readonly head: string;
}

/** @param details plain JSON, as in every error. */
export function prepareRefusal(code: ErrorCode, message: string, details: ErrorDetails): Refusal {
  const { status, retryable } = ERROR_CODES[code];
  const fields = JSON.stringify({ code, message, details, retryable });
  return { code, status, head: `{"error":${fields.slice(0, -1)},"requestId":"` };
}

/** @param requestId of characters that need no escape in JSON. */
export function sendRefusal(
  reply: FastifyReply,
  { status, head }: Refusal,
  requestId: string,
  retryAfterSeconds: number,
): void {
  void reply
    .code(status)
    .header('retry-after', String(retryAfterSeconds))
    .header('content-type', 'application/json; charset=utf-8')
    .send(`${head}${requestId}"}}`);
}
