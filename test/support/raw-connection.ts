import { connect, type Socket } from 'node:net';
import { until } from './until.js';

export interface RawResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The bytes of a request with a JSON body, and what else its head says. */
export function requestBytes(path: string, body?: unknown, headers: readonly string[] = []): string {
  const text = body === undefined ? '' : JSON.stringify(body);
  const method = body === undefined ? 'GET' : 'POST';
  const own = body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${text.length}`];
  return `${[`${method} ${path} HTTP/1.1`, 'Host: test', ...own, ...headers].join('\r\n')}\r\n\r\n${text}`;
}

/** A TCP connection to a server that shows all there is to see: each response, the end, a reset. */
export class RawConnection {
  readonly socket: Socket;
  readonly responses: RawResponse[] = [];
  /** The server has sent its end. */
  ended = false;
  closed = false;
  /** Code of the error that broke the connection, ECONNRESET for a reset. */
  error: string | undefined;
  #unread: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
      while (this.#takeResponse());
    });
    socket.on('end', () => (this.ended = true));
    socket.on('close', () => (this.closed = true));
    socket.on('error', ({ code }: NodeJS.ErrnoException) => (this.error = code ?? 'unknown'));
  }

  /** Settles once connected, or once that failed: see `error`. */
  static async open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const connection = new RawConnection(socket);
    await new Promise<void>((resolve) => {
      socket.once('connect', resolve);
      socket.once('error', () => {
        resolve();
      });
    });
    return connection;
  }

  /** Bytes that came and are no whole response yet. */
  get partial(): string {
    return this.#unread.toString('latin1');
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** The response at this place, once it is there whole. */
  async response(place: number): Promise<RawResponse> {
    await until(`response ${place}`, () => this.responses.length > place || this.closed);
    const response = this.responses[place];
    if (response === undefined) throw new Error(`No response ${place}: ${this.error ?? 'closed'}`);
    return response;
  }

  destroy(): void {
    this.socket.destroy();
  }

  #takeResponse(): boolean {
    const headEnd = this.#unread.indexOf('\r\n\r\n');
    if (headEnd === -1) return false;
    const [first = '', ...lines] = this.#unread.toString('latin1', 0, headEnd).split('\r\n');
    const status = Number(first.split(' ')[1]);
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const start = headEnd + 4;
    const end = start + Number(headers['content-length'] ?? 0);
    if (this.#unread.length < end) return false;
    if (status >= 200)
      this.responses.push({ status, headers, body: this.#unread.toString('utf8', start, end) });
    this.#unread = this.#unread.subarray(end);
    return true;
  }
}
