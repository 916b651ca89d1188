import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { assert, must, toWhittleError, WhittleError } from '../core/index.js';
import type { Log } from '../core/index.js';
import type { Meta } from './frame.js';
import { SOCKET_DESCRIPTOR } from './protocol.js';
import type { RequestKind, RunnerRequest, RunnerResponse } from './protocol.js';
import { RunnerChannel } from './runner-channel.js';
import { RunnerOutput } from './runner-output.js';

export interface RunnerProcessOptions {
  /** Names the runner in logs and errors. */
  readonly name: string;
  /** Path of the entry script, which calls `hostRunner`. */
  readonly entry: string;
  /** Plain JSON for the entry's `open`. */
  readonly spec: unknown;
  /** Flags of Node before the entry; default none. */
  readonly execArgv?: readonly string[];
  /** A runner that is not ready after this long is killed. */
  readonly startTimeoutMs: number;
  /** A call without an answer for this long means a hung runner, which is killed. */
  readonly hangTimeoutMs: number;
  /**
   * Memory the runner may have, beside what Node itself takes and the files it maps: beyond, its allocations fail.
   * Default unlimited. Held by the kernel, on Linux only.
   */
  readonly memoryBytes?: number;
  /** Size of the files that the runner maps: private, writable mappings, as ONNX Runtime's are, count for the kernel. */
  readonly mappedBytes?: number;
  /** Called with the process's id as soon as there is one, before any model is open. */
  readonly onSpawn?: (pid: number) => void;
  readonly log: Log;
}

/** How a runner ended. `crashed` is every end that nobody here asked for. */
export interface RunnerExit {
  readonly reason: 'crashed' | 'hung' | 'stopped';
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Last lines the runner wrote, oldest first. */
  readonly output: readonly string[];
}

/** Ended with the gateway, also where they are in a run and would not see their socket close. */
const livingChildren = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of livingChildren) child.kill('SIGKILL');
});

const NOTHING: RunnerRequest = { meta: {}, tensors: {} };

/** One child process with models open. It is never reused after it ended. */
export class RunnerProcess {
  /** Settles when the process is gone and its open calls are rejected. */
  readonly exited: Promise<RunnerExit>;
  readonly pid: number;
  readonly #options: RunnerProcessOptions;
  readonly #child: ChildProcess;
  readonly #channel: RunnerChannel;
  readonly #output: RunnerOutput;
  #endReason: RunnerExit['reason'] = 'crashed';
  #onEnding: () => void = () => undefined;
  #info: Meta = {};

  private constructor(options: RunnerProcessOptions, child: ChildProcess) {
    this.#options = options;
    this.#child = child;
    this.#output = new RunnerOutput(options.name, options.log);
    livingChildren.add(child);
    this.pid = must(child.pid, 'the pid of a spawned runner');
    options.onSpawn?.(this.pid);
    const socket = child.stdio[SOCKET_DESCRIPTOR];
    assert(socket instanceof Socket, 'a runner has a socket');
    this.#channel = this.#listenTo(socket);
    this.exited = this.#watchExit();
    child.on('error', (error) => {
      this.#output.note(error.message);
    });
    for (const stream of [child.stdout, child.stderr])
      this.#output.collect(must(stream, 'the output of a runner'));
  }

  /**
   * Spawns a runner and waits until its models are open. Aborting `signal` kills it.
   * @throws RUNNER_START_FAILED with the entry's own error, or the process's last lines, in `details.cause`.
   */
  static async start(options: RunnerProcessOptions, signal: AbortSignal): Promise<RunnerProcess> {
    try {
      const runner = new RunnerProcess(options, await spawnEntry(options));
      await runner.#open(signal);
      return runner;
    } catch (thrown) {
      throw startFailed(options, toWhittleError(thrown));
    }
  }

  /** What the runner said of itself when it was ready. */
  get info(): Meta {
    return this.#info;
  }

  /** Calls that wait for an answer. */
  get inFlight(): number {
    return this.#channel.inFlight;
  }

  /** `listener` is called when the end is known and before any call is rejected for it; maybe more than once. */
  onEnding(listener: () => void): void {
    this.#onEnding = listener;
  }

  /**
   * Runs a request; its buffers must not change until it settles.
   * @throws RUNNER_FAILED when the process ended or was killed as hung; else what the runner's handler threw.
   */
  run(request: RunnerRequest): Promise<RunnerResponse> {
    return this.#call('run', request);
  }

  /** Settles when the runner's event loop answers. A runner that does not is killed as hung. */
  async ping(): Promise<void> {
    await this.#call('ping', NOTHING);
  }

  /** Lets the runner answer what it has and exit; kills it where that takes longer than `timeoutMs`. */
  async stop(timeoutMs: number): Promise<void> {
    this.#endReason = 'stopped';
    // Its failure is the process's end, which is what is waited for.
    this.#channel.call('shutdown', NOTHING, timeoutMs).catch(() => undefined);
    const timer = setTimeout(() => {
      this.kill();
    }, timeoutMs);
    await this.exited;
    clearTimeout(timer);
  }

  /** Ends the process at once. */
  kill(): void {
    this.#end('stopped');
  }

  /** SIGKILL; the first reason is the one that counts. */
  #end(reason: RunnerExit['reason']): void {
    if (this.#endReason === 'crashed') this.#endReason = reason;
    this.#onEnding();
    // ChildProcess.kill does nothing once the process is reaped, so the pid cannot be somebody else's by now.
    this.#child.kill('SIGKILL');
  }

  async #open(signal: AbortSignal): Promise<void> {
    const abort = (): void => {
      this.kill();
    };
    signal.addEventListener('abort', abort);
    try {
      if (signal.aborted) abort();
      const request: RunnerRequest = { meta: { spec: this.#options.spec }, tensors: {} };
      this.#info = (await this.#channel.call('start', request, this.#options.startTimeoutMs)).meta;
    } catch (thrown) {
      this.kill();
      const exit = await this.exited;
      const error = toWhittleError(thrown);
      // What it printed is for whoever starts the server; a request's failure does not carry it.
      throw error.code === 'RUNNER_FAILED' ? runnerFailed(this.#options.name, exit, exit.output) : error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #call(kind: RequestKind, request: RunnerRequest): Promise<RunnerResponse> {
    return this.#channel.call(kind, request, this.#options.hangTimeoutMs);
  }

  #listenTo(socket: Socket): RunnerChannel {
    return new RunnerChannel(socket, {
      onSilence: (timeoutMs) => {
        this.#output.note(`no answer for ${timeoutMs} ms`);
        this.#end('hung');
      },
      onMalformed: (error) => {
        this.#output.note(error.message);
        this.#end('crashed');
      },
      onEnd: () => {
        if (this.#endReason !== 'stopped') this.#end('crashed');
      },
    });
  }

  #watchExit(): Promise<RunnerExit> {
    return new Promise((resolve) => {
      this.#child.once('exit', (exitCode, signal) => {
        livingChildren.delete(this.#child);
        this.#onEnding();
        // One turn later, what the runner wrote before its end has been read.
        setImmediate(() => {
          const exit: RunnerExit = { reason: this.#endReason, exitCode, signal, output: this.#output.lines };
          this.#channel.close(runnerFailed(this.#options.name, exit));
          resolve(exit);
        });
      });
    });
  }
}

async function spawnEntry(options: RunnerProcessOptions): Promise<ChildProcess> {
  const [command, ...args] = [
    ...kernelLimits(options),
    process.execPath,
    ...(options.execArgv ?? []),
    options.entry,
  ];
  const child = spawn(must(command, 'command'), args, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  // Rejects with the reason where there is no process.
  await once(child, 'spawn');
  return child;
}

/** What Node takes of RLIMIT_DATA before a model is open is about 100 MiB; its heap and threads grow from there. */
const NODE_DATA_BYTES = 256 * 2 ** 20;

/**
 * The command that lowers the limits of the process and then becomes the runner, so that the process id is the runner's.
 * RLIMIT_DATA is the one limit that fits: it counts private writable memory (since Linux 4.7), not the address space,
 * of which V8 reserves gigabytes that it never uses. A crash writes no core file, which would hold up the restart.
 */
function kernelLimits({ memoryBytes, mappedBytes = 0 }: RunnerProcessOptions): string[] {
  if (process.platform !== 'linux' || memoryBytes === undefined) return [];
  const kibibytes = Math.ceil((memoryBytes + mappedBytes + NODE_DATA_BYTES) / 1024);
  return ['/bin/sh', '-c', `ulimit -c 0; ulimit -d ${kibibytes} && exec "$0" "$@"`];
}

function runnerFailed(
  runner: string,
  { reason, exitCode, signal }: RunnerExit,
  output?: readonly string[],
): WhittleError {
  const what = {
    crashed: `crashed (${signal ?? `exit code ${exitCode ?? 'unknown'}`})`,
    hung: 'hung and was killed',
    stopped: 'was stopped',
  }[reason];
  return new WhittleError('RUNNER_FAILED', `Runner ${runner} ${what}`, {
    runner,
    reason,
    exitCode,
    signal,
    ...(output === undefined ? {} : { output }),
  });
}

function startFailed(options: RunnerProcessOptions, cause: WhittleError): WhittleError {
  const { name, entry, startTimeoutMs } = options;
  return new WhittleError(
    'RUNNER_START_FAILED',
    `Runner ${name} could not be started: ${cause.message}`,
    { runner: name, entry, startTimeoutMs, cause: { code: cause.code, details: cause.details } },
    cause,
  );
}
