import { Socket } from 'node:net';
import { WhittleError } from '../core/index.js';
import { writeFrame } from './frame.js';
import { FrameDecoder } from './frame-decoder.js';
import type { Frame, Meta } from './frame.js';
import { failureFrame, SOCKET_DESCRIPTOR } from './protocol.js';
import type { RequestKind, RunnerRequest, RunnerResponse } from './protocol.js';

/** What an entry script puts behind the socket. */
export interface HostedRunner {
  /** Told to the gateway when the runner is ready: for example the model's inputs and outputs. */
  readonly info?: Meta;
  /** Answers one request; called again only after it settles. A throw is answered with its error. */
  handle(request: RunnerRequest): Promise<RunnerResponse>;
  /** Called once before a graceful exit. */
  close?(): Promise<void>;
}

/**
 * Makes this process a runner: the one call of an entry script. `open` gets the spec that the gateway passed and opens
 * the models; its throw is what the gateway reports as the start's failure. The process ends when the gateway asks, and
 * when the socket closes, so that no runner outlives its gateway (where that was killed by SIGKILL, a runner inside a
 * native run ends after that run).
 * @throws USAGE_INVALID when the process was not started by a gateway.
 */
export function hostRunner(open: (spec: unknown) => Promise<HostedRunner>): void {
  // A terminal sends Ctrl-C to the whole process group, but the gateway drains first and then says when to stop.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  new RunnerHost(openSocket(), open);
}

function openSocket(): Socket {
  try {
    return new Socket({ fd: SOCKET_DESCRIPTOR, readable: true, writable: true });
  } catch (thrown) {
    throw new WhittleError(
      'USAGE_INVALID',
      `A runner is started by the gateway, with a socket as descriptor ${SOCKET_DESCRIPTOR}`,
      { descriptor: SOCKET_DESCRIPTOR },
      thrown,
    );
  }
}

class RunnerHost {
  readonly #socket: Socket;
  readonly #open: (spec: unknown) => Promise<HostedRunner>;
  readonly #decoder = new FrameDecoder();
  #runner: HostedRunner | undefined;
  /** Settles when every request taken so far is answered: requests are handled one after the other. */
  #tail: Promise<void> = Promise.resolve();

  constructor(socket: Socket, open: (spec: unknown) => Promise<HostedRunner>) {
    this.#socket = socket;
    this.#open = open;
    socket.on('data', (chunk: Buffer) => {
      for (const frame of this.#decoder.push(chunk)) this.#take(frame);
    });
    // 'close' follows an error, and is all that matters: the gateway is gone.
    socket.on('error', () => undefined);
    socket.on('close', () => process.exit());
  }

  #take(frame: Frame): void {
    if (frame.kind === 'ping') writeFrame(this.#socket, { ...frame, kind: 'result' });
    else this.#tail = this.#tail.then(() => this.#answer(frame));
  }

  async #answer(frame: Frame): Promise<void> {
    try {
      const { meta, tensors } = await this.#perform(frame);
      writeFrame(this.#socket, { id: frame.id, kind: 'result', meta, tensors });
    } catch (thrown) {
      writeFrame(this.#socket, failureFrame(frame.id, thrown));
    }
    if (frame.kind === 'shutdown') this.#socket.end(() => process.exit());
  }

  async #perform(frame: Frame): Promise<RunnerResponse> {
    switch (frame.kind as Exclude<RequestKind, 'ping'>) {
      case 'start':
        this.#runner = await this.#open(frame.meta['spec']);
        return { meta: this.#runner.info ?? {}, tensors: {} };
      case 'run':
        if (this.#runner === undefined) throw new WhittleError('NOT_READY', 'The runner has no model open');
        return this.#runner.handle(frame);
      case 'shutdown':
        await this.#runner?.close?.();
        return { meta: {}, tensors: {} };
    }
  }
}
