import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { must } from '../../src/core/index.js';
import type { StoreHealth } from '../../src/store/index.js';

const entry = fileURLToPath(new URL('commanded-child.ts', import.meta.url));

interface Message {
  readonly kind: 'reply' | 'health';
  readonly value: unknown;
}

/** A store in a process of its own, see `commanded-child.ts`. */
export class CommandedStore {
  readonly process: ChildProcess;
  readonly #arrived: Record<Message['kind'], unknown[]> = { reply: [], health: [] };
  readonly #waiting: Record<Message['kind'], ((value: unknown) => void)[]> = { reply: [], health: [] };

  /**
   * @param wrapper a command that becomes the process, such as one that lowers its limits.
   * @param uid the user it runs as; the test's own where absent.
   */
  constructor(path: string, wrapper: readonly string[] = [], uid?: number) {
    const [command, ...args] = [...wrapper, process.execPath, '--import', 'tsx', entry, path];
    const identity = uid === undefined ? {} : { uid, gid: uid };
    // LMDB prints each write that fails.
    const stdio = ['ignore', 'ignore', 'ignore', 'ipc'] as const;
    this.process = spawn(must(command, 'command'), args, { stdio: [...stdio], ...identity });
    this.process.on('message', ({ kind, value }: Message) => {
      const settle = this.#waiting[kind].shift();
      if (settle === undefined) this.#arrived[kind].push(value);
      else settle(value);
    });
    onTestFinished(() => {
      this.process.kill('SIGKILL');
    });
  }

  /** Sends a command; its answer, or the code of the error that it met. */
  ask(command: string, argument = ''): Promise<unknown> {
    this.process.send([command, argument]);
    return this.#next('reply');
  }

  /** The next word on its health; the first one is that it is open. */
  health(): Promise<StoreHealth> {
    return this.#next('health') as Promise<StoreHealth>;
  }

  #next(kind: Message['kind']): Promise<unknown> {
    const here = this.#arrived[kind];
    if (here.length > 0) return Promise.resolve(here.shift());
    return new Promise((resolve, reject) => {
      this.#waiting[kind].push(resolve);
      this.process.once('exit', (code, signal) => {
        reject(new Error(`The store's process ended: ${String(signal ?? code)}`));
      });
    });
  }
}
