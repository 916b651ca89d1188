import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { must } from '../../src/core/index.js';
import { keepAdmissions } from '../support/admissions.js';
import { childPids, isAlive } from '../support/processes.js';
import { tinyConfig, type TinyConfig } from '../support/tiny-server.js';
import { until } from '../support/until.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const TOKEN = 'a-token-for-tests-only';

/** `whittle serve` on the tiny bundle in a process of its own, with its admin interface on. */
export class Served {
  readonly child: ChildProcess;
  readonly directory: string;
  readonly url: string;
  readonly adminUrl: string;
  readonly auditPath: string;
  /** Process ids of the gateways at the start. */
  readonly gateways: readonly number[];
  readonly #logged: Record<string, unknown>[];

  private constructor(
    child: ChildProcess,
    directory: string,
    said: Record<'url' | 'adminUrl', string> & { gateways: number[] },
    logged: Record<string, unknown>[],
  ) {
    this.child = child;
    this.directory = directory;
    this.url = said.url;
    this.adminUrl = said.adminUrl;
    this.gateways = said.gateways;
    this.auditPath = join(directory, 'audit.jsonl');
    this.#logged = logged;
  }

  static async start(changes: TinyConfig = {}, ...options: readonly string[]): Promise<Served> {
    const { config, directory } = await tinyConfig(changes, { lean: true });
    const admin = { ...config.admin, port: 0, auditPath: join(directory, 'audit.jsonl') };
    const path = join(directory, 'whittle.json');
    await writeFile(path, JSON.stringify({ ...config, admin }));
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', MAIN, 'serve', '--config', path, '--json', ...options],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, WHITTLE_ADMIN_TOKEN: TOKEN } },
    );
    // A test that fails before it has the server must not leave it behind.
    process.once('exit', () => child.kill('SIGKILL'));
    const logged: Record<string, unknown>[] = [];
    createInterface(child.stderr).on('line', (line) => {
      if (line.startsWith('{')) logged.push(JSON.parse(line) as Record<string, unknown>);
      else process.stderr.write(`${line}\n`);
    });
    const [line] = (await Promise.race([
      once(createInterface(child.stdout), 'line'),
      once(child, 'exit').then((ended) => {
        throw new Error(`The server ended: ${JSON.stringify([ended, logged.at(-1)])}`);
      }),
    ])) as [string];
    return new Served(child, directory, JSON.parse(line) as never, logged);
  }

  get pid(): number {
    return must(this.child.pid, 'pid');
  }

  /** Runners of the server and of its gateways; there are children of the test tools among the processes, too. */
  runners(): number[] {
    return this.#descendants().filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('-runner.ts'),
    );
  }

  #descendants(): number[] {
    const below = (pid: number): number[] => childPids(pid).flatMap((child) => [child, ...below(child)]);
    return below(this.pid);
  }

  /** Whether a process can read the admin token in its environment. */
  knowsToken(pid: number): boolean {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(TOKEN);
  }

  /** Waits for a line of the server's log. */
  async logged(event: string): Promise<Record<string, unknown>> {
    const find = (): Record<string, unknown> | undefined =>
      this.#logged.find((line) => line['event'] === event);
    await until(`the log says ${event}`, () => find() !== undefined);
    return must(find(), event);
  }

  /** A call of the admin interface. @returns status and body. */
  async admin(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
    const response = await fetch(`${this.adminUrl}${path}`, {
      method,
      headers: body === undefined ? { authorization: headers.authorization } : headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  }

  /** Ranks, on a connection of its own. */
  recommend(user: string): Promise<Response> {
    return fetch(`${this.url}/v1/recommend`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ user }),
    });
  }

  /** Sends signals one after the other and waits for the end: exit code or signal. */
  async end(...signals: readonly NodeJS.Signals[]): Promise<number | string> {
    const ended = once(this.child, 'exit') as Promise<[number | null, string | null]>;
    for (const signal of signals) this.child.kill(signal);
    const [code, signal] = await ended;
    return code ?? signal ?? 'nothing';
  }

  /** Ends what is left and removes the folder. */
  async remove(): Promise<void> {
    const left = [this.pid, ...this.#descendants()].filter(isAlive);
    for (const pid of left) process.kill(pid, 'SIGKILL');
    await until('the server is gone', () => !left.some(isAlive));
    await keepAdmissions(join(this.directory, 'store'));
    await rm(this.directory, { recursive: true, force: true });
  }
}
