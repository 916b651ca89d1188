import { SingleBar } from 'cli-progress';
import { toWhittleError, type WhittleError } from '../core/index.js';

/** Where a command writes: results to standard output, everything else to standard error. */
export interface Output {
  /** Whether results are JSON for programs. */
  readonly json: boolean;
  /** A result: `value` with --json, else `text`. */
  result(value: unknown, text: string): void;
  /** A line about what is being done. */
  note(line: string): void;
  /** Shows how far a long step is; answers a function to call with the share done and what to say of it. */
  progress(title: string): Progress;
}

export interface Progress {
  update(done: number, total: number, detail: string): void;
  end(): void;
}

export function createOutput(json: boolean): Output {
  const note = (line: string): void => void process.stderr.write(`${line}\n`);
  return {
    json,
    result: (value, text) => void process.stdout.write(json ? `${JSON.stringify(value)}\n` : `${text}\n`),
    note,
    progress: (title) => (process.stderr.isTTY ? barProgress(title) : lineProgress(title, note)),
  };
}

function barProgress(title: string): Progress {
  const bar = new SingleBar({
    format: `${title} {bar} {percentage}% {detail}`,
    stream: process.stderr,
    hideCursor: true,
  });
  bar.start(1, 0, { detail: '' });
  return {
    update: (done, total, detail) => {
      bar.setTotal(total);
      bar.update(done, { detail });
    },
    end: () => {
      bar.stop();
    },
  };
}

/** Without a terminal: a line every ten seconds. */
const LINE_INTERVAL_MS = 10_000;

function lineProgress(title: string, note: (line: string) => void): Progress {
  let saidAt = performance.now();
  return {
    update: (done, total, detail) => {
      if (performance.now() - saidAt < LINE_INTERVAL_MS && done < total) return;
      saidAt = performance.now();
      note(`${title} ${((100 * done) / total).toFixed(0)}% ${detail}`);
    },
    end: () => undefined,
  };
}

/** Exit codes: 2 for wrong use, 1 for any other failure. */
function exitCodeOf({ code }: WhittleError): number {
  return code === 'USAGE_INVALID' || code === 'CONFIG_INVALID' || code === 'RECIPE_INVALID' ? 2 : 1;
}

/** Says why a command failed, in one line (or as JSON), and answers the exit code. */
export function reportFailure(thrown: unknown, json: boolean): number {
  const error = toWhittleError(thrown);
  const { code, message, details, retryable } = error;
  const line = json
    ? JSON.stringify({ error: { code, message, details, retryable } })
    : `${code}: ${message}`;
  process.stderr.write(`${line}\n`);
  // A bug's stack is what its reporter needs.
  if (code === 'INTERNAL' && error.stack !== undefined && !json) process.stderr.write(`${error.stack}\n`);
  return exitCodeOf(error);
}
