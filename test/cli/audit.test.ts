import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { whittle } from './whittle.js';

/** Two entries, made by another program; see test/store/audit-log.test.ts. */
const golden = fileURLToPath(new URL('../store/audit-golden.jsonl', import.meta.url));
const FIRST = 'dc14ac982b7bd756a53b6e15bee5cdaf133b343350a823bcdff4007bf7378a5d';
const SECOND = 'eaade44c54f541e8ed675f72442ea5b71f1de1d4b6ef806e2b8eb3411b6fa381';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-audit-'));
  const text = await readFile(golden, 'utf8');
  await writeFile(at('edited.jsonl'), text.replace('33.3', '66.6'));
  await copyFile(golden, at('torn.jsonl'));
  await truncate(at('torn.jsonl'), text.length - 9);
  await writeFile(at('short.jsonl'), text.slice(0, text.indexOf('\n') + 1));
  await writeFile(at('config.yaml'), `admin: { auditPath: ${golden} }\n`);
});

afterAll(() => rm(folder, { recursive: true }));

describe.concurrent('whittle audit verify', () => {
  test('a log that holds: count, times and head', async () => {
    const { code, stdout, stderr } = await whittle('audit', 'verify', golden);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toBe(
      `${golden}: 2 entries hold\n  from 2026-01-02T03:04:05.006Z to 2026-01-02T03:04:06.000Z\n  head  ${SECOND}\n`,
    );
  });

  test('as JSON, of the file that the configuration names, with a head that is in it', async () => {
    const options = ['--config', at('config.yaml'), '--head', FIRST, '--json'];
    const { code, stdout } = await whittle('audit', 'verify', ...options);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ path: golden, entries: 2, head: SECOND, recovered: 0 });
  });

  const failures: readonly (readonly [string, string[], string])[] = [
    ['edited.jsonl', [], 'line 1 does not hold: its content differs from its hash'],
    ['torn.jsonl', [], 'the last line is cut off after'],
    ['short.jsonl', ['--head', SECOND], 'entries were cut off or the log was written anew'],
  ];
  test.each(failures)('%s fails', async (name, options, reason) => {
    const { code, stdout, stderr } = await whittle('audit', 'verify', at(name), ...options);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^FILE_CORRUPT: [^\n]+\n$/);
    expect(stderr).toContain(reason);
  });

  test('a file that is not there', async () => {
    const { code, stderr } = await whittle('audit', 'verify', at('none.jsonl'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^FILE_MISSING: [^\n]*none\.jsonl/);
  });
});
