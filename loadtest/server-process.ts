import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WhittleError } from '../src/core/index.js';
import { checkTarget } from './target.js';

const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 5_000;
const LAST_LINES_TIMEOUT_MS = 1_000;
/** Longer than the wait for the last lines, which comes first. */
const END_NOTICE_MS = 3_000;
/** Lines of the server's log that are kept for the case that it fails. */
const LOG_LINES = 20;

/** A server that this process started and is responsible for. */
export interface ServerProcess {
  readonly url: string;
  /** The outcome of `work`, or why the server ended before it: what breaks then has that for its reason. */
  during<T>(work: Promise<T>): Promise<T>;
  /** Ends it with SIGTERM, after 5 s with SIGKILL. */
  stop(): Promise<void>;
}

/**
 * Starts `whittle serve` and waits for the line that says where it listens.
 *
 * @param interrupted never resolves; when it rejects, the server is stopped.
 * @throws NOT_READY with the server's last log lines where it ends or is silent for two minutes.
 */
export async function startServer(
  bundle: string,
  configFile: string,
  interrupted: Promise<never>,
): Promise<ServerProcess> {
  const child = spawnServer(bundle, configFile);
  const ended = endOf(child, bundle);
  const during = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await Promise.race([work, ended]);
    } catch (thrown) {
      // A connection breaks before the operating system says that the process behind it is gone.
      await Promise.race([ended, delay(END_NOTICE_MS)]);
      throw thrown;
    }
  };
  const stop = (): Promise<void> => stopServer(child);
  try {
    return { url: await Promise.race([during(listeningUrl(child)), interrupted]), during, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}

/** Rejects when the server has ended, with its last log lines. */
function endOf(child: ChildProcess, bundle: string): Promise<never> {
  const log = keepLastLines(child);
  // Its output is whole at `close`, which runners that outlive it can hold back.
  const closed = once(child, 'close');
  const ended = once(child, 'exit').then(async ([code, signal]: unknown[]): Promise<never> => {
    await Promise.race([closed, delay(LAST_LINES_TIMEOUT_MS, undefined, { ref: false })]);
    const said = log.length === 0 ? '' : `; its last lines:\n${log.join('\n')}`;
    throw new WhittleError('NOT_READY', `The server ended with ${String(code ?? signal)}${said}`, { bundle });
  });
  // It also ends when it is told to; only `during` minds.
  ended.catch(() => undefined);
  return ended;
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function spawnServer(bundle: string, configFile: string): ChildProcess {
  // Tests run the sources, so the server must too.
  const isSource = import.meta.url.endsWith('.ts');
  const entry = fileURLToPath(new URL(`../src/cli/main.${isSource ? 'ts' : 'js'}`, import.meta.url));
  const args = ['serve', bundle, '--config', configFile, '--port', '0', '--json'];
  return spawn(process.execPath, [...(isSource ? ['--import', 'tsx'] : []), entry, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function keepLastLines({ stderr }: ChildProcess): readonly string[] {
  const lines: string[] = [];
  if (stderr === null) return lines;
  createInterface({ input: stderr }).on('line', (line) => {
    lines.push(line);
    if (lines.length > LOG_LINES) lines.shift();
  });
  return lines;
}

function listeningUrl({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const reason = `The server did not listen within ${START_TIMEOUT_MS / 1000} s`;
      reject(new WhittleError('NOT_READY', reason, { timeoutMs: START_TIMEOUT_MS }));
    }, START_TIMEOUT_MS);
    timer.unref();
    if (stdout === null) return;
    createInterface({ input: stdout }).on('line', (line) => {
      const { event, url } = JSON.parse(line) as { event?: string; url?: string };
      if (event !== 'listening' || url === undefined) return;
      clearTimeout(timer);
      resolve(checkTarget(url));
    });
  });
}

async function stopServer(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exited = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  child.kill('SIGTERM');
  await exited;
  clearTimeout(timer);
}
