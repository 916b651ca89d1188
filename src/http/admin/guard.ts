import type { FastifyRequest } from 'fastify';
import { WhittleError, type Log } from '../../core/index.js';
import { tokenCheck } from './token.js';

const MAX_FAILURES_PER_MINUTE = 10;
/** Time over which refusals are counted. */
const WINDOW_SECONDS = 60;
const BEARER = /^bearer +(\S+)$/i;

/** Whether an address is of this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Lets a request pass that carries the token, was sent to a loopback name and did not come from a web page. After ten
 * refusals within a minute the rest are answered 429 and not logged; the right token always passes.
 */
export class Guard {
  readonly #isToken: (given: string) => boolean;
  readonly #log: Log;
  #failures = 0;
  #windowStartedAt = -Infinity;

  constructor(token: string, log: Log) {
    this.#isToken = tokenCheck(token);
    this.#log = log;
  }

  /** @throws FORBIDDEN, RATE_LIMITED. */
  check(request: FastifyRequest): void {
    const reason = foreignReason(request) ?? this.#tokenReason(request);
    if (reason !== undefined) throw this.#refuse(reason, request);
  }

  #tokenReason({ headers }: FastifyRequest): string | undefined {
    const given = BEARER.exec(headers.authorization ?? '')?.[1];
    if (given === undefined) return 'the header Authorization: Bearer <token> is missing';
    return this.#isToken(given) ? undefined : 'the token is wrong';
  }

  #refuse(reason: string, { ip, method, url }: FastifyRequest): WhittleError {
    const now = performance.now();
    if (now - this.#windowStartedAt > 1_000 * WINDOW_SECONDS) {
      this.#windowStartedAt = now;
      this.#failures = 0;
    }
    this.#failures += 1;
    if (this.#failures > MAX_FAILURES_PER_MINUTE) {
      const allowed = `${MAX_FAILURES_PER_MINUTE} a minute`;
      return new WhittleError('RATE_LIMITED', `Too many refused admin requests: allowed are ${allowed}`, {
        allowed,
        retryAfterSeconds: WINDOW_SECONDS,
      });
    }
    this.#log.warn('admin.refused', { reason, address: ip, method, url: url.slice(0, 200) });
    return new WhittleError('FORBIDDEN', `The admin interface refuses the request: ${reason}`, { reason });
  }
}

/**
 * Why a request may come from a web page: browsers send `Origin` or `Sec-Fetch-Site`, and a page whose name was made to
 * point at this machine (DNS rebinding) sends that name as `Host`.
 */
function foreignReason({ headers }: FastifyRequest): string | undefined {
  if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined)
    return 'it comes from a browser';
  return isLoopback(nameOf(headers.host ?? '')) ? undefined : 'its Host header names no loopback address';
}

/** The name in a Host header, without its port and the brackets of an IPv6 address. */
function nameOf(host: string): string {
  return (/^\[([^\]]+)\](:\d+)?$/.exec(host) ?? /^([^:]+)(:\d+)?$/.exec(host))?.[1] ?? '';
}
