import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import { WhittleError, type ServerConfig } from '../core/index.js';
import type { Endpoint, Engine } from '../serving/index.js';
import { ClientLimiter, clientOf } from './client-limits.js';
import type { Drain } from './drain.js';
import { prepareRefusal, sendRefusal, type Refusal } from './refusal.js';

/**
 * Unanswered requests of one connection, each of which may wait with its answer for a client that takes none: many where
 * clients post, whose answers are small, few where pages and lists are read.
 */
const MAX_PIPELINED = 128;
const MAX_PIPELINED_READS = 8;
const RETRY_AFTER_SECONDS = 1;

const STOPPING = prepareRefusal('NOT_READY', 'The server is stopping', {});
const SATURATED = prepareRefusal('OVERLOADED', 'More requests came than can be answered in time', {});
const TOO_OFTEN = prepareRefusal('RATE_LIMITED', 'This client sent more than its share', {
  allowed: 'what server.clients of the configuration says',
});
const TOO_MANY = prepareRefusal('RATE_LIMITED', 'Too many requests wait on this connection', {
  allowed: `${MAX_PIPELINED} unanswered requests a connection, ${MAX_PIPELINED_READS} that read`,
});

interface Decision {
  readonly refusal?: Refusal;
  readonly retryAfterSeconds?: number;
  /** To be called when the request is over. */
  readonly release?: () => void;
}
const ADMITTED: Decision = {};

/** Decides on a request by its head alone, before its body is read. */
export class Gate {
  readonly #engine: Engine;
  readonly #drain: Drain;
  readonly #limiter: ClientLimiter;
  readonly #config: ServerConfig['server'];
  readonly #onRefusal: (endpoint: Endpoint, code: string) => void;

  /** @param onRefusal told of ranking requests that the engine will not see. */
  constructor(
    engine: Engine,
    drain: Drain,
    config: ServerConfig['server'],
    onRefusal: (endpoint: Endpoint, code: string) => void,
  ) {
    this.#engine = engine;
    this.#drain = drain;
    this.#config = config;
    this.#limiter = new ClientLimiter(config.clients);
    this.#onRefusal = onRefusal;
  }

  /** The first hook of a route that serves clients. @param endpoint where it ranks. */
  hook(endpoint: Endpoint | undefined): onRequestHookHandler {
    return (request, reply, done) => {
      const { refusal, retryAfterSeconds = RETRY_AFTER_SECONDS, release } = this.#decide(endpoint, request);
      if (release !== undefined) this.#drain.onLeave(request.raw.socket, reply.raw, release);
      if (refusal === undefined) {
        done(encodingError(request));
        return;
      }
      if (endpoint !== undefined) this.#onRefusal(endpoint, refusal.code);
      this.#closeWhereLarge(request, reply);
      sendRefusal(reply, refusal, request.id, retryAfterSeconds);
    };
  }

  /** The first hook of every other route. */
  readonly crowdHook: onRequestHookHandler = (request, reply, done) => {
    if (this.#isCrowded(request)) sendRefusal(reply, TOO_MANY, request.id, RETRY_AFTER_SECONDS);
    else done();
  };

  #isCrowded({ method, raw }: FastifyRequest): boolean {
    return this.#drain.pendingOf(raw.socket) > (method === 'POST' ? MAX_PIPELINED : MAX_PIPELINED_READS);
  }

  #decide(endpoint: Endpoint | undefined, request: FastifyRequest): Decision {
    const { raw, headers } = request;
    if (this.#drain.draining) return { refusal: STOPPING };
    if (this.#isCrowded(request)) return { refusal: TOO_MANY };
    const admission = this.#limiter.active
      ? this.#limiter.admit(clientOf(raw.socket, headers, this.#config.clients.header))
      : undefined;
    if (admission?.admitted === false)
      return { refusal: TOO_OFTEN, retryAfterSeconds: admission.retryAfterSeconds };
    const release = admission === undefined ? ADMITTED : { release: admission.release };
    if (endpoint === undefined) return release;
    const forced = headers['x-whittle-pipeline'];
    if (!this.#engine.saturated(endpoint, forced === undefined ? undefined : String(forced))) return release;
    return { ...release, refusal: SATURATED };
  }

  /** A body that is small is read and dropped, so that its connection lives on; another is not waited for. */
  #closeWhereLarge({ headers }: FastifyRequest, reply: FastifyReply): void {
    const small = Number(headers['content-length'] ?? 0) <= this.#config.bodyLimitBytes;
    if (!small || headers['transfer-encoding'] !== undefined) reply.header('connection', 'close');
  }
}

/** Bodies are taken as they are: a small compressed one could become a large one. */
function encodingError({ headers }: FastifyRequest): WhittleError | undefined {
  const encoding = headers['content-encoding'];
  if (encoding === undefined || encoding === 'identity') return undefined;
  return new WhittleError('INPUT_INVALID', 'content-encoding: compressed bodies are not taken', {
    field: 'content-encoding',
    value: encoding,
    allowed: 'identity',
  });
}
