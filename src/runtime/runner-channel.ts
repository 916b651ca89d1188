import type { Socket } from 'node:net';
import { toWhittleError } from '../core/index.js';
import type { WhittleError } from '../core/index.js';
import { writeFrame } from './frame.js';
import { FrameDecoder } from './frame-decoder.js';
import type { Frame } from './frame.js';
import { failureOf } from './protocol.js';
import type { RequestKind, RunnerRequest, RunnerResponse } from './protocol.js';

interface PendingCall {
  readonly resolve: (response: RunnerResponse) => void;
  readonly reject: (error: WhittleError) => void;
  readonly timer: NodeJS.Timeout;
}

/** What the owner of a channel must act on, each by ending the runner. Calls stay open until `close`. */
export interface ChannelListener {
  /** A call passed its time without an answer. */
  onSilence(timeoutMs: number): void;
  /** The stream is not one of frames; nothing more can be read from it. */
  onMalformed(error: WhittleError): void;
  /** The runner closed its end: it is ending, or has lost its senses. */
  onEnd(): void;
}

/** The gateway's end of a runner's socket: pairs answers with calls, and notices silence. */
export class RunnerChannel {
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder();
  readonly #pending = new Map<number, PendingCall>();
  readonly #listener: ChannelListener;
  #nextId = 1;
  #closedBy: WhittleError | undefined;

  constructor(socket: Socket, listener: ChannelListener) {
    this.#socket = socket;
    this.#listener = listener;
    socket.on('data', (chunk: Buffer) => {
      this.#take(chunk);
    });
    // 'close' follows an error (a write to a runner that just died) as it follows the stream's end.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      listener.onEnd();
    });
  }

  /** Calls that wait for an answer. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /**
   * Sends a request; the tensors' buffers must not change until it settles.
   * @throws INPUT_TOO_LARGE when the frame is over the limit; what the runner answered; what `close` gave.
   */
  call(kind: RequestKind, request: RunnerRequest, timeoutMs: number): Promise<RunnerResponse> {
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) throw this.#closedBy;
      const id = this.#nextId;
      // The frame has 32 bits for it; the call of that number is long answered.
      this.#nextId = (id + 1) % 2 ** 32;
      writeFrame(this.#socket, { id, kind, meta: request.meta, tensors: request.tensors });
      const timer = setTimeout(() => {
        this.#suspectSilence(id, timeoutMs);
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
    });
  }

  /** Rejects every open and later call with `error`. */
  close(error: WhittleError): void {
    this.#closedBy ??= error;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#settle(frame);
    } catch (thrown) {
      this.#listener.onMalformed(toWhittleError(thrown));
    }
  }

  #settle(frame: Frame): void {
    const call = this.#pending.get(frame.id);
    if (call === undefined) return;
    this.#pending.delete(frame.id);
    clearTimeout(call.timer);
    if (frame.kind === 'result') call.resolve(frame);
    else call.reject(failureOf(frame));
  }

  /** Timers run before sockets are read: where the gateway itself was held up, the answer may be waiting to be read. */
  #suspectSilence(id: number, timeoutMs: number): void {
    setImmediate(() => {
      if (this.#pending.has(id)) this.#listener.onSilence(timeoutMs);
    });
  }
}
