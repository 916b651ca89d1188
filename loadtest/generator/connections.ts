import { connect, type Socket } from 'node:net';
import { ResponseReader, type ResponseHead } from './response-reader.js';

/** Takes the outcome of one request: a response, or why there was none. */
export type Settle = (outcome: ResponseHead | 'timeout' | 'connection-error') => void;

interface Connection {
  readonly socket: Socket;
  readonly reader: ResponseReader;
  settle: Settle | undefined;
  /** When its last request was sent, or its last answer came. */
  usedAtMs: number;
}

/** Servers close connections that were idle for long (Node's do after 5 s): such a one is not used again. */
const MAX_IDLE_MS = 3_000;
/** Sockets of one process and of one target have limits; past this one the generator says that it is the bottleneck. */
const MAX_CONNECTIONS = 10_000;
const READ_BYTES = 65_536;

/**
 * Keep-alive connections to one server, as many as requests are open at once; the one used last is used first. Answers
 * are read into one buffer that all share.
 */
export class Connections {
  readonly #host: string;
  readonly #port: number;
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  readonly #buffer = Buffer.allocUnsafe(READ_BYTES);
  #most = 0;

  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  /** Most connections that were open at once. */
  get most(): number {
    return this.#most;
  }

  /** Sends a whole request. Answers false, and does nothing, where there is no connection left for it. */
  send(request: Buffer, settle: Settle): boolean {
    const connection = this.#takeIdle() ?? this.#open();
    if (connection === undefined) return false;
    connection.settle = settle;
    connection.usedAtMs = performance.now();
    connection.socket.write(request);
    return true;
  }

  /** Gives up every request that was sent before `beforeMs` of `performance.now()`. */
  giveUp(beforeMs: number): void {
    for (const connection of this.#all) {
      if (connection.settle !== undefined && connection.usedAtMs < beforeMs)
        this.#drop(connection, 'timeout');
    }
  }

  /** Closes every connection; open requests are settled as connection errors. */
  close(): void {
    for (const connection of this.#all) this.#drop(connection, 'connection-error');
  }

  #takeIdle(): Connection | undefined {
    const freshMs = performance.now() - MAX_IDLE_MS;
    let connection = this.#idle.pop();
    while (connection !== undefined && connection.usedAtMs < freshMs) {
      this.#drop(connection, 'connection-error');
      connection = this.#idle.pop();
    }
    return connection;
  }

  #open(): Connection | undefined {
    if (this.#all.size >= MAX_CONNECTIONS) return undefined;
    const connection: Connection = {
      socket: connect({
        host: this.#host,
        port: this.#port,
        noDelay: true,
        onread: {
          buffer: this.#buffer,
          callback: (length, bytes) => {
            this.#read(connection, bytes as Buffer, length);
            return true;
          },
        },
      }),
      reader: new ResponseReader(),
      settle: undefined,
      usedAtMs: 0,
    };
    const broken = (): void => {
      this.#drop(connection, 'connection-error');
    };
    connection.socket.on('error', broken).on('close', broken).on('end', broken);
    this.#all.add(connection);
    this.#most = Math.max(this.#most, this.#all.size);
    return connection;
  }

  #read(connection: Connection, bytes: Buffer, length: number): void {
    const state = connection.settle === undefined ? 'broken' : connection.reader.push(bytes, length);
    if (state === 'more') return;
    const { head } = connection.reader;
    if (state === 'broken' || head === undefined) {
      this.#drop(connection, 'connection-error');
      return;
    }
    const { settle } = connection;
    connection.settle = undefined;
    connection.usedAtMs = performance.now();
    if (head.closes) this.#drop(connection, 'connection-error');
    else this.#idle.push(connection);
    settle?.(head);
  }

  /** Ends a connection; a request that was open on it is settled so. */
  #drop(connection: Connection, outcome: 'timeout' | 'connection-error'): void {
    if (!this.#all.delete(connection)) return;
    const place = this.#idle.indexOf(connection);
    if (place !== -1) this.#idle.splice(place, 1);
    const { settle } = connection;
    connection.settle = undefined;
    connection.socket.destroy();
    settle?.(outcome);
  }
}
