import type { FastifyReply, FastifyRequest } from 'fastify';
import { toWhittleError, WhittleError, type ErrorCode, type ErrorDetails, type Log } from '../core/index.js';

const RETRY_AFTER_SECONDS = 1;
const MAX_VALUE_CHARACTERS = 200;

/** Body of every error response. */
interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly details: ErrorDetails;
    readonly retryable: boolean;
    readonly requestId: string;
  };
}

/** Answers any error with its status and body; a bug is logged in full and told only by its request id. */
export function sendError(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Log,
): FastifyReply {
  const error = whittleErrorOf(thrown, request);
  if (error.code === 'INTERNAL') {
    const cause = thrown instanceof Error ? thrown.stack : String(thrown);
    log.error('request_failed', { requestId: request.id, url: request.url, cause });
  }
  if (error.status === 503 || error.status === 429) reply.header('retry-after', retryAfterSeconds(error));
  return reply.code(error.status).send(errorBody(error, request.id));
}

function retryAfterSeconds({ details }: WhittleError): number {
  const seconds = details['retryAfterSeconds'];
  return typeof seconds === 'number'
    ? Math.max(RETRY_AFTER_SECONDS, Math.ceil(seconds))
    : RETRY_AFTER_SECONDS;
}

function errorBody({ code, message, details, retryable }: WhittleError, requestId: string): ErrorBody {
  const shown = code === 'INTERNAL' ? `A bug in Whittle; its log names request ${requestId}` : message;
  return { error: { code, message: shown, details: printable(details), retryable, requestId } };
}

/** What fastify refuses before a handler runs, in our words. */
function whittleErrorOf(thrown: unknown, request: FastifyRequest): WhittleError {
  if (thrown instanceof WhittleError) return thrown;
  const { code, statusCode, message } = thrown as { code?: string; statusCode?: number; message?: string };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    const allowed = `at most ${request.routeOptions.bodyLimit} bytes`;
    return new WhittleError('INPUT_TOO_LARGE', `The body is too large: allowed is ${allowed}`, {
      field: 'body',
      value: request.headers['content-length'],
      allowed,
    });
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return refused('content-type', 'application/json', message, request.headers['content-type'] ?? 'none');
  }
  if (code === 'FST_ERR_BAD_URL') return refused('url', 'a valid path', message, request.url);
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return refused('body', 'one JSON value of the documented form', message);
  return toWhittleError(thrown);
}

function refused(field: string, allowed: string, reason = 'wrong', value?: string): WhittleError {
  return new WhittleError('INPUT_INVALID', `${field}: ${reason}; allowed is ${allowed}`, {
    field,
    ...(value === undefined ? {} : { value }),
    allowed,
  });
}

/**
 * A refused value is echoed so that its sender finds it, but not a megabyte of it, and not as null. Lists and objects are
 * only named: they may be nested deeper than JSON can be written.
 */
function printable(details: ErrorDetails): ErrorDetails {
  const { value } = details;
  if (typeof value === 'number' && !Number.isFinite(value)) return { ...details, value: String(value) };
  if (typeof value === 'string' && value.length > MAX_VALUE_CHARACTERS)
    return { ...details, value: `${value.slice(0, MAX_VALUE_CHARACTERS)}…` };
  if (typeof value !== 'object' || value === null) return details;
  return { ...details, value: Array.isArray(value) ? `a list of ${value.length} entries` : 'an object' };
}
