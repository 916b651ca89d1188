import { createServer, STATUS_CODES, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { ErrorCode, ServerConfig } from '../core/index.js';
import { endGently, type Drain } from './drain.js';
import { prepareRefusal } from './refusal.js';

/** How often connections are checked against the time limits; four times within the shortest of them. */
const LONGEST_CHECK_MS = 1_000;
const CHECKS_PER_LIMIT = 4;

type Limits = Pick<
  ServerConfig['server'],
  'headersTimeoutMs' | 'requestTimeoutMs' | 'keepAliveTimeoutMs' | 'maxConnections'
>;

/**
 * Node's HTTP server with limits against slow clients: time for a request's head and body, time without progress on an
 * answer, number of connections. Connections end gently, see {@link Drain}.
 */
export function createNodeServer(limits: Limits, drain: Drain, handler: RequestListener): Server {
  const { requestTimeoutMs, keepAliveTimeoutMs } = limits;
  const headersTimeoutMs = Math.min(limits.headersTimeoutMs, requestTimeoutMs);
  const options = {
    requestTimeout: requestTimeoutMs,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(LONGEST_CHECK_MS, Math.ceil(headersTimeoutMs / CHECKS_PER_LIMIT)),
  };
  const server = createServer(options, handler);
  server.maxConnections = limits.maxConnections;
  server.on('connection', (socket) => {
    drain.add(socket);
  });
  // Fires too while an answer is written and its client takes nothing of it.
  server.setTimeout(requestTimeoutMs, (socket: Socket) => {
    if (drain.pendingOf(socket) === 0) endGently(socket);
    else socket.destroy();
  });
  server.closeIdleConnections = () => {
    drain.endAll();
  };
  return server;
}

const BROKEN = new Map<
  string,
  { readonly status: number; readonly code: ErrorCode; readonly message: string }
>([
  [
    'ERR_HTTP_REQUEST_TIMEOUT',
    { status: 408, code: 'INPUT_INVALID', message: 'The request came too slowly' },
  ],
  [
    'HPE_HEADER_OVERFLOW',
    { status: 431, code: 'INPUT_TOO_LARGE', message: "The request's head is too large" },
  ],
]);
const NOT_HTTP = {
  status: 400,
  code: 'INPUT_INVALID',
  message: 'This is not a well-formed HTTP request',
} as const;

/**
 * Answers what cannot be read as a request, and ends the connection after the requests before it are answered.
 * @param onAnswer told of the status.
 */
export function answerBroken(
  error: NodeJS.ErrnoException,
  socket: Socket,
  drain: Drain,
  onAnswer: (status: number) => void,
): void {
  if (socket.destroyed || socket.writableEnded) return;
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
    socket.destroy();
    return;
  }
  if (drain.giveUpIncomplete(socket) === 0) {
    const { status, code, message } = BROKEN.get(error.code ?? '') ?? NOT_HTTP;
    const body = `${prepareRefusal(code, message, { field: 'request' }).head}none"}}`;
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close`;
    const type = 'Content-Type: application/json; charset=utf-8';
    socket.write(`${head}\r\n${type}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    onAnswer(status);
  }
  drain.endWhenIdle(socket);
}
