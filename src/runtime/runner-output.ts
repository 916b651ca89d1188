import type { Readable } from 'node:stream';
import type { Log } from '../core/index.js';

/** Lines kept for the report of the runner's end. */
const KEPT_LINES = 20;
const LINE_CHARACTERS = 2_000;
/** Lines that reach the log in one second; what is beyond is counted. */
const LOGGED_PER_SECOND = 20;

/**
 * What a runner prints, in bounded memory and bounded log, however much it is and even where it has no line ends.
 */
export class RunnerOutput {
  readonly #name: string;
  readonly #log: Log;
  #lines: string[] = [];
  #second = 0;
  #loggedInSecond = 0;
  #unlogged = 0;

  constructor(name: string, log: Log) {
    this.#name = name;
    this.#log = log;
  }

  /** The last lines, oldest first; the reader's own copy. */
  get lines(): readonly string[] {
    return [...this.#lines];
  }

  /** Takes the stream's lines until it ends. */
  collect(stream: Readable): void {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = (parts.pop() ?? '').slice(0, LINE_CHARACTERS);
      for (const line of parts) this.#add(line);
    });
    stream.on('close', () => {
      if (rest !== '') this.#add(rest);
    });
    // A pipe that breaks is a process that ends, which is seen elsewhere.
    stream.on('error', () => undefined);
  }

  /** Adds a line of the gateway's own to what is kept; it is not logged. */
  note(line: string): void {
    this.#lines.push(line.slice(0, LINE_CHARACTERS));
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }

  #add(line: string): void {
    this.note(line);
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) this.#startSecond(second);
    this.#loggedInSecond += 1;
    if (this.#loggedInSecond > LOGGED_PER_SECOND) this.#unlogged += 1;
    else this.#log.info('runner_output', { runner: this.#name, line: line.slice(0, LINE_CHARACTERS) });
  }

  #startSecond(second: number): void {
    this.#second = second;
    this.#loggedInSecond = 0;
    if (this.#unlogged === 0) return;
    this.#log.warn('runner_output_dropped', { runner: this.#name, lines: this.#unlogged });
    this.#unlogged = 0;
  }
}
