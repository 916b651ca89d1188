import type { ServerResponse } from 'node:http';
import { WhittleError } from '../core/index.js';

/** Knows which responses are open, so that closing can refuse new requests and wait for the rest. */
export class Drain {
  readonly #open = new Set<ServerResponse>();
  #draining = false;
  #whenIdle: () => void = () => undefined;

  get draining(): boolean {
    return this.#draining;
  }

  /** Counts a request until its response is sent or its client is gone. @throws NOT_READY once draining. */
  enter(response: ServerResponse): void {
    if (this.#draining) throw new WhittleError('NOT_READY', 'The server is stopping');
    this.#open.add(response);
    const leave = (): void => {
      this.#open.delete(response);
      if (this.#open.size === 0) this.#whenIdle();
    };
    response.once('finish', leave);
    response.once('close', leave);
  }

  /** Refuses new requests from now on; settles when none is open, after `timeoutMs` at the latest. */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
