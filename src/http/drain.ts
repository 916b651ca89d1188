import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Time that a client has to close a connection after the server has; what it still sends is read and dropped. */
const LINGER_MS = 1_000;
/** A server that has nothing to answer and meets nothing new for so long has read what was sent to it. */
const QUIET_MS = 25;
/** Time to wait for that: clients that come again and again do not hold the end up. */
const MAX_UNQUIET_MS = 500;

/**
 * Knows the open connections and their unanswered requests, so that connections end without cutting anything off: a
 * socket that is closed with unread bytes in it resets the connection, and its client may lose the answer before.
 */
export class Drain {
  readonly #sockets = new Set<Socket>();
  /** Unanswered requests by connection, each with what to call when it is over. */
  readonly #pending = new Map<Socket, Map<ServerResponse, (() => void) | undefined>>();
  /** Connections to end once they have nothing left to answer. */
  readonly #ending = new WeakSet<Socket>();
  /** Connections and requests met so far. */
  #met = 0;
  #draining = false;
  #whenIdle: () => void = () => undefined;

  get draining(): boolean {
    return this.#draining;
  }

  /** Takes charge of a connection's end. */
  add(socket: Socket): void {
    this.#met += 1;
    this.#sockets.add(socket);
    // Node ends a connection by this after a response that closes it, and destroys it at once.
    socket.destroySoon = () => {
      endGently(socket);
    };
    socket.once('close', () => {
      this.#sockets.delete(socket);
      // Node says nothing of answers that were still waiting for their turn.
      const left = this.#pending.get(socket);
      if (left !== undefined) for (const response of [...left.keys()]) this.#leave(socket, response);
    });
  }

  /** Counts a request until its response is sent or its client is gone. */
  enter(socket: Socket, response: ServerResponse): void {
    this.#met += 1;
    const pending = this.#pending.get(socket);
    if (pending === undefined) this.#pending.set(socket, new Map([[response, undefined]]));
    else pending.set(response, undefined);
    response.once('close', () => {
      this.#leave(socket, response);
    });
  }

  /** Calls `onLeave` once when a request that entered is over. */
  onLeave(socket: Socket, response: ServerResponse, onLeave: () => void): void {
    this.#pending.get(socket)?.set(response, onLeave);
  }

  /** Unanswered requests of a connection. */
  pendingOf(socket: Socket): number {
    return this.#pending.get(socket)?.size ?? 0;
  }

  /** Gives up requests of a connection that did not come whole, and will not. @returns how many are left to answer. */
  giveUpIncomplete(socket: Socket): number {
    for (const response of [...(this.#pending.get(socket)?.keys() ?? [])])
      if (!response.req.complete) this.#remove(socket, response);
    return this.pendingOf(socket);
  }

  /** Ends a connection after what it has to answer. */
  endWhenIdle(socket: Socket): void {
    if (this.pendingOf(socket) === 0) endGently(socket);
    else this.#ending.add(socket);
  }

  /**
   * From now on `draining` is true. Settles when no request is unanswered and what had arrived by then was read, after
   * `timeoutMs` and a little at the latest.
   */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    await this.#idle(timeoutMs);
    const giveUpAt = performance.now() + MAX_UNQUIET_MS;
    let met: number;
    do {
      met = this.#met;
      await delay(QUIET_MS);
    } while ((this.#met !== met || this.#pending.size > 0) && performance.now() < giveUpAt);
  }

  /** Ends the connections without a request, and destroys those that still have one. */
  endAll(): void {
    for (const socket of this.#sockets) {
      if (this.pendingOf(socket) === 0) endGently(socket);
      else socket.destroy();
    }
  }

  #leave(socket: Socket, response: ServerResponse): void {
    if (!this.#remove(socket, response) || this.#pending.has(socket)) return;
    if ((this.#draining && this.#sockets.has(socket)) || this.#ending.has(socket)) endGently(socket);
  }

  /** Whether the request was among the unanswered ones. */
  #remove(socket: Socket, response: ServerResponse): boolean {
    const pending = this.#pending.get(socket);
    const onLeave = pending?.get(response);
    if (pending?.delete(response) !== true) return false;
    onLeave?.();
    if (pending.size === 0) this.#pending.delete(socket);
    if (this.#pending.size === 0) this.#whenIdle();
    return true;
  }

  async #idle(timeoutMs: number): Promise<void> {
    if (this.#pending.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Sends what is written and the end, then reads on until the client closes too. */
export function endGently(socket: Socket): void {
  if (socket.writableEnded) return;
  socket.end(() => {
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once('close', () => {
      clearTimeout(timer);
    });
  });
}
