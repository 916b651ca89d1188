import { canonicalJson, sha256 } from '../core/index.js';

/** What the first line of a log has for the hash of the line before. */
const FIRST_PREVIOUS_HASH = '0'.repeat(64);

/** Who asked for a change. */
export interface AuditActor {
  /** `admin` for the holder of the token, `signal`, `server`. */
  readonly name: string;
  /** Address that the request came from. */
  readonly address?: string;
}

/** One entry of the audit log, before it is bound to the line before. All of it is plain JSON. */
export interface AuditEntry {
  readonly actor: AuditActor;
  /** What is changed, for example `experiments.replace`. */
  readonly action: string;
  /**
   * A change is two lines of one `change` id: `requested` is on disk before it is made, `applied` or `failed` before it
   * is answered. A change without its second line was cut off by the end of the process. `noted` needs no second line.
   */
  readonly outcome: 'requested' | 'applied' | 'failed' | 'noted';
  readonly change?: string;
  readonly before?: unknown;
  readonly after?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** A line of the log. */
export interface AuditLine extends AuditEntry {
  /** Position in the log, from 1. */
  readonly sequence: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly previousHash: string;
  /** SHA-256 of the canonical JSON of all other fields, so of `previousHash` too. */
  readonly hash: string;
}

/** The end of a chain: what the next line is bound to. */
export interface AuditHead {
  readonly sequence: number;
  readonly hash: string;
}

export const EMPTY_HEAD: AuditHead = { sequence: 0, hash: FIRST_PREVIOUS_HASH };

/** Binds an entry to the head. */
export function chainEntry(head: AuditHead, entry: AuditEntry, time: string): AuditLine {
  // Through JSON once, so that what is hashed is what a reader gets back.
  const plain = JSON.parse(canonicalJson(entry)) as AuditEntry;
  const unsealed = { ...plain, sequence: head.sequence + 1, time, previousHash: head.hash };
  return { ...unsealed, hash: sha256(canonicalJson(unsealed)) };
}

/** A line as it stands in the file, with its newline. */
export function formatLine(line: AuditLine): string {
  return `${canonicalJson(line)}\n`;
}

/** Why a line's text does not follow the head; the line where it does. */
export function readLine(text: string, head: AuditHead): AuditLine | string {
  const line = parseLine(text);
  if (line === undefined) return 'it is not an entry of the log in its one spelling';
  const { hash, ...unsealed } = line;
  if (sha256(canonicalJson(unsealed)) !== hash) return 'its content differs from its hash: it was edited';
  if (line.sequence !== head.sequence + 1)
    return `its number is ${line.sequence} where ${head.sequence + 1} follows: lines were removed, inserted or reordered`;
  if (line.previousHash !== head.hash)
    return 'it is bound to another line before it: lines were replaced or inserted';
  return line;
}

function parseLine(text: string): AuditLine | undefined {
  try {
    const line = JSON.parse(text) as AuditLine;
    return canonicalJson(line) === text && typeof line.hash === 'string' ? line : undefined;
  } catch {
    return undefined;
  }
}

/** The entry that explains a last line that a crash cut off; `before` names the bytes that stay in the file. */
export const RECOVERY_ACTION = 'log.recover';

/** The bytes of a torn line, as a recovery entry records them. */
export interface TornLine {
  readonly tornBytes: number;
  readonly tornSha256: string;
}

export function tornLine(bytes: Uint8Array): TornLine {
  return { tornBytes: bytes.length, tornSha256: sha256(bytes) };
}
