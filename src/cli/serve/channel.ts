import { toWhittleError, WhittleError, type ErrorCode, type ErrorDetails } from '../../core/index.js';

/** Calls that a process answers: what is given and what comes back by name, plain data only. */
export type Calls = Readonly<Record<string, { readonly given: unknown; readonly answer: unknown }>>;

export type Handlers<Mine extends Calls> = {
  readonly [Name in keyof Mine]: (given: Mine[Name]['given']) => Promise<Mine[Name]['answer']>;
};

/** A failure as it goes between processes. */
export interface PlainFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

export function plainFailure(thrown: unknown): PlainFailure {
  const { code, message, details } = toWhittleError(thrown);
  return { code, message, details };
}

type Message =
  | { readonly kind: 'call'; readonly id: number; readonly name: string; readonly given: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly failure: PlainFailure };

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (reason: WhittleError) => void;
}

/** Calls over the messages between a process and its child, in both directions; answers are matched by id. */
export class Channel<Mine extends Calls, Theirs extends Calls> {
  readonly #send: (message: unknown) => void;
  readonly #handlers: Handlers<Mine>;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #closed: WhittleError | undefined;

  /** @param send hands a message to the other process. */
  constructor(send: (message: unknown) => void, handlers: Handlers<Mine>) {
    this.#send = send;
    this.#handlers = handlers;
  }

  /** @throws what the other side threw; NOT_READY where it ended, or did not answer in `timeoutMs`. */
  call<Name extends keyof Theirs & string>(
    name: Name,
    given: Theirs[Name]['given'],
    timeoutMs?: number,
  ): Promise<Theirs[Name]['answer']> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => {
              this.#settle(id)?.reject(noAnswer(name, timeoutMs));
            }, timeoutMs);
      this.#waiting.set(id, {
        resolve: (answer) => {
          clearTimeout(timer);
          resolve(answer);
        },
        reject: (reason) => {
          clearTimeout(timer);
          reject(reason);
        },
      });
      this.#post({ kind: 'call', id, name, given });
    });
  }

  /** Takes what came from the other process. */
  readonly receive = (received: unknown): void => {
    const message = received as Message;
    switch (message.kind) {
      case 'call':
        void this.#answer(message.id, message.name, message.given);
        break;
      case 'answer':
        this.#settle(message.id)?.resolve(message.answer);
        break;
      case 'failure': {
        const { code, message: text, details } = message.failure;
        this.#settle(message.id)?.reject(new WhittleError(code, text, details));
        break;
      }
    }
  };

  /** The other process ended: whatever waits for it fails with `reason`. */
  close(reason: WhittleError): void {
    this.#closed = reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }

  async #answer(id: number, name: string, given: unknown): Promise<void> {
    try {
      const handler = this.#handlers[name];
      if (handler === undefined) throw new WhittleError('INTERNAL', `There is no call ${name}`);
      this.#post({ kind: 'answer', id, answer: await handler(given) });
    } catch (thrown) {
      this.#post({ kind: 'failure', id, failure: plainFailure(thrown) });
    }
  }

  #post(message: Message): void {
    if (this.#closed === undefined) this.#send(message);
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }
}

function noAnswer(name: string, timeoutMs: number): WhittleError {
  return new WhittleError('NOT_READY', `A gateway did not answer ${name} within ${timeoutMs} ms`, { name });
}
