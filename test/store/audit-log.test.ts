import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, copyFile, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { createLog, must, silentLog, WhittleError } from '../../src/core/index.js';
import { AuditLog, verifyAuditLog, type AuditEntry, type AuditHead } from '../../src/store/index.js';
import { rejectionCode } from '../support/error-code.js';
import { temporaryFolder } from './temporary-folder.js';

const GOLDEN_HEAD = 'eaade44c54f541e8ed675f72442ea5b71f1de1d4b6ef806e2b8eb3411b6fa381';

const actor = { name: 'admin', address: '127.0.0.1' };

function entry(place: number): AuditEntry {
  return { actor, action: 'pipeline.set', outcome: 'noted', before: `p${place}`, after: `p${place + 1}` };
}

/** A log of `count` entries, closed; its path and lines. */
async function writeLog(count: number): Promise<{ path: string; lines: string[] }> {
  const path = join(temporaryFolder(), 'audit.jsonl');
  const audit = await AuditLog.open(path, silentLog);
  for (let place = 0; place < count; place++) await audit.append(entry(place));
  await audit.close();
  return { path, lines: (await readFile(path, 'utf8')).split('\n').slice(0, -1) };
}

describe('the chain', () => {
  test('of a log that was computed elsewhere holds', async () => {
    // Canonical JSON and SHA-256 by Python 3: json.dumps(sort_keys=True, separators=(',', ':')), hashlib.
    const golden = fileURLToPath(new URL('audit-golden.jsonl', import.meta.url));
    const report = await verifyAuditLog(golden);
    expect(report).toEqual({
      entries: 2,
      firstTime: '2026-01-02T03:04:05.006Z',
      lastTime: '2026-01-02T03:04:06.000Z',
      head: { sequence: 2, hash: GOLDEN_HEAD },
      recovered: 0,
    });
    const path = join(temporaryFolder(), 'copy.jsonl');
    await copyFile(golden, path);
    const audit = await AuditLog.open(path, silentLog);
    expect(await audit.append(entry(0))).toMatchObject({ sequence: 3, previousHash: GOLDEN_HEAD });
    await audit.close();
    expect((await verifyAuditLog(path)).broken).toBeUndefined();
  });

  test('holds over concurrent appends and restarts, in the order of the calls', async () => {
    const path = join(temporaryFolder(), 'deep/folder/audit.jsonl');
    for (const start of [0, 50]) {
      const audit = await AuditLog.open(path, silentLog);
      const lines = await Promise.all(Array.from({ length: 50 }, (_, place) => audit.append(entry(place))));
      expect(lines.map(({ sequence }) => sequence)).toEqual(lines.map((_, place) => start + place + 1));
      const { lines: last, report } = await audit.recent(3);
      expect(last).toEqual(lines.slice(-3));
      expect(report).toMatchObject({ entries: start + 50, head: audit.head });
      await audit.close();
    }
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test('tells each head to the log of the server, where it outlives the file', async () => {
    const said: string[] = [];
    const path = join(temporaryFolder(), 'audit.jsonl');
    const audit = await AuditLog.open(
      path,
      createLog({}, (line) => said.push(line)),
    );
    const { hash } = await audit.append(entry(0));
    await audit.close();
    expect(JSON.parse(must(said[0], 'line'))).toMatchObject({ event: 'audited', sequence: 1, hash });
  });
});

describe('tampering is found, with the first bad line', () => {
  type Tamper = (lines: string[]) => string[];
  const swap = (line: string, from: string, to: string): string => {
    expect(line).toContain(from);
    return line.replace(from, to);
  };
  const cases: readonly (readonly [string, number, RegExp, Tamper])[] = [
    ['edited', 3, /edited/, (l) => l.with(2, swap(String(l[2]), 'p2', 'p9'))],
    ['edited time', 1, /edited/, (l) => l.with(0, swap(String(l[0]), '"time":"2', '"time":"3'))],
    ['edited last', 6, /edited/, (l) => l.with(5, swap(String(l[5]), 'p5', 'p9'))],
    ['removed first', 1, /number is 2/, (l) => l.slice(1)],
    ['removed middle', 3, /number is 4 where 3/, (l) => l.toSpliced(2, 1)],
    ['repeated', 4, /number is 3 where 4/, (l) => l.toSpliced(3, 0, String(l[2]))],
    ['reordered', 2, /number is 3/, (l) => l.with(1, String(l[2])).with(2, String(l[1]))],
    ['foreign text', 3, /spelling/, (l) => l.toSpliced(2, 0, '{}')],
    ['empty line', 3, /spelling/, (l) => l.toSpliced(2, 0, '')],
    ['other spelling', 2, /spelling/, (l) => l.with(1, String(l[1]).replace('{', '{ '))],
    ['field twice', 2, /spelling/, (l) => l.with(1, String(l[1]).replace('{', '{"action":"x",'))],
  ];

  test.each(cases)('%s', async (_name, line, reason, tamper) => {
    const { path, lines } = await writeLog(6);
    await writeFile(
      path,
      tamper(lines)
        .map((text) => `${text}\n`)
        .join(''),
    );
    const { broken, entries } = await verifyAuditLog(path);
    expect(broken).toEqual({ line, reason: expect.stringMatching(reason) as string });
    expect(entries).toBe(line - 1);
    const thrown: unknown = await AuditLog.open(path, silentLog).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: 'FILE_CORRUPT', details: { line } });
  });

  test('a line with a right hash that was put in the place of another', async () => {
    const [{ path, lines }, other] = [await writeLog(3), await writeLog(3)];
    await writeFile(path, `${[lines[0], other.lines[1], lines[2]].join('\n')}\n`);
    expect((await verifyAuditLog(path)).broken).toMatchObject({ line: 2 });
  });

  test('a file that somebody writes to, or moves away, takes no more entries', async () => {
    const path = join(temporaryFolder(), 'audit.jsonl');
    const audit = await AuditLog.open(path, silentLog);
    const { hash } = await audit.append(entry(0));
    await appendFile(path, 'x');
    expect(await rejectionCode(audit.append(entry(1)))).toBe('FILE_UNWRITABLE');
    await truncate(path, (await stat(path)).size - 1);
    expect(await audit.append(entry(1))).toMatchObject({ previousHash: hash });
    await writeFile(`${path}.new`, await readFile(path));
    await rename(`${path}.new`, path);
    expect(await rejectionCode(audit.append(entry(2)))).toBe('FILE_UNWRITABLE');
    await audit.close();
  });
});

describe('a last line that was cut off', () => {
  test('stays in the file, and an entry after it says so', async () => {
    const { path, lines } = await writeLog(3);
    const text = await readFile(path);
    for (let cut = 1; cut < Buffer.byteLength(String(lines[2])); cut += 97) {
      const torn = text.subarray(0, text.length - 1 - cut);
      await writeFile(path, torn);
      expect(await verifyAuditLog(path)).toMatchObject({ entries: 2, torn: expect.anything() as unknown });
      const audit = await AuditLog.open(path, silentLog);
      expect(audit.head.sequence).toBe(3);
      await audit.append(entry(9));
      await audit.close();
      const report = await verifyAuditLog(path);
      expect(report).toMatchObject({ entries: 4, recovered: 1 });
      expect(report.broken).toBeUndefined();
      expect((await readFile(path)).subarray(0, torn.length)).toEqual(torn);
    }
  });

  test('only its newline was missing: the entry counts', async () => {
    const { path } = await writeLog(3);
    await truncate(path, (await stat(path)).size - 1);
    const audit = await AuditLog.open(path, silentLog);
    await audit.append(entry(3));
    await audit.close();
    expect(await verifyAuditLog(path)).toMatchObject({ entries: 4, recovered: 0 });
  });

  test('its remains cannot be changed after the recovery', async () => {
    const { path } = await writeLog(3);
    await truncate(path, (await stat(path)).size - 20);
    await (await AuditLog.open(path, silentLog)).close();
    const text = await readFile(path, 'utf8');
    const at = text.lastIndexOf('p2');
    await writeFile(path, `${text.slice(0, at)}p7${text.slice(at + 2)}`);
    expect((await verifyAuditLog(path)).broken).toMatchObject({ line: 3 });
  });
});

test('kill -9 amid a stream of entries: what was acknowledged is there, and the log goes on', async () => {
  const child = fileURLToPath(new URL('audit-writer-child.ts', import.meta.url));
  const path = join(temporaryFolder(), 'audit.jsonl');
  let acknowledged = 0;
  for (const limit of [1, 30]) {
    const writer = fork(child, [path], { execArgv: ['--import', 'tsx'] });
    writer.on('message', (sequence: number) => {
      acknowledged = Math.max(acknowledged, sequence);
      if (acknowledged >= limit) writer.kill('SIGKILL');
    });
    expect(await once(writer, 'exit')).toEqual([null, 'SIGKILL']);
    // The lock of the killed process is taken over.
    const audit = await AuditLog.open(path, silentLog);
    expect(audit.head.sequence).toBeGreaterThanOrEqual(acknowledged);
    await audit.append(entry(0));
    await audit.close();
    expect((await verifyAuditLog(path)).broken).toBeUndefined();
  }
});

test('one writer at a time: a second one is refused and told who has it', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl');
  const audit = await AuditLog.open(path, silentLog);
  const thrown: unknown = await AuditLog.open(path, silentLog).catch((error: unknown) => error);
  expect(thrown).toMatchObject({ code: 'FILE_UNWRITABLE', details: { reason: 'locked', pid: process.pid } });
  await audit.close();
  // The id of a process that runs, but another one than wrote the lock.
  await writeFile(`${path}.lock`, `${process.pid} 1`);
  await (await AuditLog.open(path, silentLog)).close();
});

describe('a change', () => {
  test('is logged before it is made, and its outcome after', async () => {
    const path = join(temporaryFolder(), 'audit.jsonl');
    const audit = await AuditLog.open(path, silentLog);
    const change = { actor, action: 'reload', before: 1, after: 2 };
    const seen = await audit.change(change, async () => (await audit.recent(10)).lines);
    const failure = new WhittleError('BUNDLE_INVALID', 'no such thing');
    expect(await rejectionCode(audit.change(change, () => Promise.reject(failure)))).toBe('BUNDLE_INVALID');
    const { lines } = await audit.recent(10);
    expect(seen).toEqual(lines.slice(0, 1));
    expect(lines.map(({ outcome }) => outcome)).toEqual(['requested', 'applied', 'requested', 'failed']);
    expect(lines[3]).toMatchObject({
      error: { code: 'BUNDLE_INVALID', message: 'no such thing' },
      change: lines[2]?.change,
    });
    expect(lines[1]?.change).toBe(lines[0]?.change);
    expect(lines[2]?.change).not.toBe(lines[0]?.change);
    await audit.close();
  });

  test('is refused where the disk takes no more, and the log still holds', async () => {
    const path = join(temporaryFolder(), 'audit.jsonl');
    const child = fileURLToPath(new URL('audit-limited-child.ts', import.meta.url));
    const command = [process.execPath, '--import', 'tsx', child, path];
    const limited: ChildProcess = spawn('bash', ['-c', 'ulimit -f 8; exec "$@"', 'bash', ...command], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const [report] = (await once(limited, 'message')) as [{ made: number; failure: string; head: AuditHead }];
    expect(await once(limited, 'exit')).toEqual([0, null]);
    expect(report.failure).toBe('FILE_UNWRITABLE "not made"');
    expect(report.made).toBeGreaterThan(2);
    expect(await verifyAuditLog(path)).toMatchObject({ entries: 2 * report.made, head: report.head });
    expect((await verifyAuditLog(path)).torn).toBeUndefined();
  });
});
