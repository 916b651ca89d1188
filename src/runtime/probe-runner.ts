import { readFileSync } from 'node:fs';
import { toWhittleError, WhittleError } from '../core/index.js';
import type { Meta } from './frame.js';
import type { RunnerRequest, RunnerResponse } from './protocol.js';
import { RunnerProcess } from './runner-process.js';
import type { RunnerProcessOptions } from './runner-process.js';

export interface ProbeOptions extends Omit<
  RunnerProcessOptions,
  'startTimeoutMs' | 'hangTimeoutMs' | 'onSpawn' | 'memoryBytes'
> {
  /** Memory that the process may take, files it maps not counted. */
  readonly memoryBytes: number;
  /** Time from the start of the process to its last answer. */
  readonly timeoutMs: number;
  /** Run one after the other; default none, which only opens the models. */
  readonly requests?: readonly RunnerRequest[];
}

export interface ProbeReport {
  /** What the runner said of itself when it was ready. */
  readonly info: Meta;
  /** One a request, in order. */
  readonly responses: readonly RunnerResponse[];
  /** Most memory seen, mapped files not counted; 0 where the platform does not tell. */
  readonly peakBytes: number;
  readonly elapsedMs: number;
}

type Limit = 'memory' | 'time';

const POLL_MS = 10;
/** Longer than any probe: its own time limit is the one that ends it. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Opens a runner that is thrown away, runs requests in it and kills it: what is not known to behave is tried where it
 * can harm nobody. Two things hold the memory limit: the kernel refuses allocations beyond it, and the process is killed
 * when it is seen above it. Both are Linux's; elsewhere only the time is limited.
 * @throws RUNNER_START_FAILED when the models do not open or a limit is passed, which `details.limit` then names; what
 * the runner answered to a request.
 */
export async function probeRunner(options: ProbeOptions): Promise<ProbeReport> {
  const startedAt = performance.now();
  const ending = new AbortController();
  const watch = new MemoryWatch();
  let passed: Limit | undefined;
  const end = (limit: Limit): void => {
    passed ??= limit;
    ending.abort();
  };
  const timer = setTimeout(end, options.timeoutMs, 'time');
  const onSpawn = (pid: number): void => {
    watch.start(pid, options.memoryBytes, () => {
      end('memory');
    });
  };
  try {
    const { info, responses } = await openAndRun({ ...options, onSpawn }, ending.signal);
    return { info, responses, peakBytes: watch.peakBytes, elapsedMs: performance.now() - startedAt };
  } catch (thrown) {
    const error = toWhittleError(thrown);
    const limit = passed ?? (isOutOfMemory(error) ? 'memory' : undefined);
    throw limit === undefined ? error : limitPassed(options, limit, error);
  } finally {
    clearTimeout(timer);
    watch.stop();
  }
}

async function openAndRun(
  options: ProbeOptions & Pick<RunnerProcessOptions, 'onSpawn'>,
  signal: AbortSignal,
): Promise<Pick<ProbeReport, 'info' | 'responses'>> {
  const limits = { startTimeoutMs: NEVER_MS, hangTimeoutMs: NEVER_MS };
  const runner = await RunnerProcess.start({ ...options, ...limits }, signal);
  const kill = (): void => {
    runner.kill();
  };
  signal.addEventListener('abort', kill);
  try {
    const responses: RunnerResponse[] = [];
    for (const request of options.requests ?? []) responses.push(await runner.run(request));
    return { info: runner.info, responses };
  } finally {
    kill();
    await runner.exited;
  }
}

/** Looks at a process's memory every few milliseconds. */
class MemoryWatch {
  peakBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  start(pid: number, limitBytes: number, onOver: () => void): void {
    this.#timer = setInterval(() => {
      this.peakBytes = Math.max(this.peakBytes, anonymousBytes(pid));
      if (this.peakBytes > limitBytes) onOver();
    }, POLL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Memory of a process that is not a file's; 0 where /proc does not tell. Read at once: /proc never waits for a disk. */
function anonymousBytes(pid: number): number {
  try {
    const kibibytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** ONNX Runtime's words for an allocation that the kernel refused. */
function isOutOfMemory({ message }: WhittleError): boolean {
  return /bad_alloc|Failed to allocate memory/.test(message);
}

function limitPassed(
  { name, entry, memoryBytes, timeoutMs }: ProbeOptions,
  limit: Limit,
  cause: WhittleError,
): WhittleError {
  const what =
    limit === 'memory'
      ? `takes more than the ${memoryBytes} bytes of memory it is allowed`
      : `takes longer than the ${timeoutMs} ms it is allowed`;
  return new WhittleError(
    'RUNNER_START_FAILED',
    `Runner ${name} was tried out and stopped: it ${what}`,
    {
      runner: name,
      entry,
      limit,
      memoryBytes,
      timeoutMs,
      cause: { code: cause.code, details: cause.details },
    },
    cause,
  );
}
