import { createReadStream } from 'node:fs';
import { canonicalJson, WhittleError } from '../core/index.js';
import {
  EMPTY_HEAD,
  readLine,
  RECOVERY_ACTION,
  tornLine,
  type AuditHead,
  type AuditLine,
} from './audit-chain.js';

/** What a log holds, and where its chain breaks first. */
export interface AuditReport {
  /** Entries that hold, from the first. */
  readonly entries: number;
  readonly firstTime?: string;
  readonly lastTime?: string;
  /** Number and hash of the last entry that holds. */
  readonly head: AuditHead;
  /** Lines that a crash cut off and a recovery entry explains. */
  readonly recovered: number;
  /** The first line, counted from 1 in the file, that does not hold, and why. */
  readonly broken?: { readonly line: number; readonly reason: string };
  /** Bytes after the last newline: a line that a crash cut off and that nothing explains yet. */
  readonly torn?: Uint8Array;
}

/**
 * Checks every line of an audit log. Lines cut off at the end cannot be seen from the log alone: compare the head with
 * one that was kept elsewhere.
 * @param onLine called with each entry that holds, in order.
 * @throws FILE_MISSING.
 */
export async function verifyAuditLog(
  path: string,
  onLine: (line: AuditLine) => void = () => undefined,
): Promise<AuditReport> {
  const checker = new ChainChecker(onLine);
  try {
    await eachLine(path, (bytes, complete) => checker.take(bytes, complete));
  } catch (thrown) {
    if (!(thrown instanceof Error && 'syscall' in thrown)) throw thrown;
    throw new WhittleError('FILE_MISSING', `The audit log ${path} cannot be read`, { path }, thrown);
  }
  return checker.report();
}

/** Calls `take` with each line's bytes, without the newline, until it answers false. */
async function eachLine(path: string, take: (bytes: Buffer, complete: boolean) => boolean): Promise<void> {
  let rest: Buffer[] = [];
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      if (!take(Buffer.concat([...rest, chunk.subarray(start, end)]), true)) return;
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) take(last, false);
}

class ChainChecker {
  readonly #onLine: (line: AuditLine) => void;
  #head = EMPTY_HEAD;
  #lines = 0;
  #recovered = 0;
  #times: readonly [first: string, last: string] | undefined;
  #broken: { line: number; reason: string } | undefined;
  /** A line that does not hold; forgiven where the next one is the recovery entry that names its bytes. */
  #suspect: { bytes: Buffer; reason: string } | undefined;
  #torn: Buffer | undefined;

  constructor(onLine: (line: AuditLine) => void) {
    this.#onLine = onLine;
  }

  /** @returns whether to go on. */
  take(bytes: Buffer, complete: boolean): boolean {
    this.#lines += 1;
    const line = readLine(bytes.toString('utf8'), this.#head);
    if (this.#suspect !== undefined) {
      if (typeof line === 'string' || !explains(line, this.#suspect.bytes))
        return this.#breakAt(this.#lines - 1, this.#suspect.reason);
      this.#suspect = undefined;
      this.#recovered += 1;
    }
    if (typeof line !== 'string') this.#accept(line);
    else if (complete) this.#suspect = { bytes, reason: line };
    else this.#torn = bytes;
    return true;
  }

  report(): AuditReport {
    if (this.#suspect !== undefined) this.#breakAt(this.#lines, this.#suspect.reason);
    return {
      entries: this.#head.sequence,
      ...(this.#times === undefined ? {} : { firstTime: this.#times[0], lastTime: this.#times[1] }),
      head: this.#head,
      recovered: this.#recovered,
      ...(this.#broken === undefined ? {} : { broken: this.#broken }),
      ...(this.#torn === undefined ? {} : { torn: this.#torn }),
    };
  }

  #accept(line: AuditLine): void {
    this.#head = { sequence: line.sequence, hash: line.hash };
    this.#times = [this.#times?.[0] ?? line.time, line.time];
    this.#onLine(line);
  }

  #breakAt(line: number, reason: string): false {
    this.#broken ??= { line, reason };
    this.#suspect = undefined;
    return false;
  }
}

/** Whether a line is the recovery entry of these bytes. */
function explains({ action, before }: AuditLine, bytes: Uint8Array): boolean {
  return action === RECOVERY_ACTION && canonicalJson(before) === canonicalJson(tornLine(bytes));
}
