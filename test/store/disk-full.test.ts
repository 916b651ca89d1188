import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openStore } from '../../src/store/index.js';
import { temporaryFolder } from './temporary-folder.js';

interface Report {
  readonly accepted: number;
  readonly events: number;
  readonly exposuresBuffered: number;
  readonly failures: readonly string[];
  readonly unhandled: readonly string[];
}

/** Runs the child with files of at most 3 MB: writing beyond fails as it does on a full disk. */
async function writeUntilFull(path: string): Promise<Report> {
  const child = fileURLToPath(new URL('limited-child.ts', import.meta.url));
  const command = [process.execPath, '--import', 'tsx', child, path];
  const limited = spawn('bash', ['-c', 'ulimit -f 3000; exec "$@"', 'bash', ...command], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const [report] = (await once(limited, 'message')) as [Report];
  const [exitCode] = (await once(limited, 'exit')) as [number | null];
  expect(exitCode).toBe(0);
  return report;
}

it('rejects what a full disk does not take, keeps the rest and lives on', async () => {
  const path = temporaryFolder();
  const report = await writeUntilFull(path);
  expect(report.accepted).toBeGreaterThan(1000);
  expect(report.events).toBe(report.accepted);
  expect(report.exposuresBuffered).toBe(1);
  expect(report.unhandled).toEqual([]);
  expect(report.failures).toEqual([
    expect.stringMatching(/^STORE_FAILED .*could not be written: Error: (?!Commit failed)/),
    expect.stringMatching(/^STORE_FAILED /),
  ]);
  const store = openStore(path);
  expect(store.counts().events).toBe(report.accepted);
  expect(Array.from(store.events())).toHaveLength(report.accepted);
  const event = { id: 'after', user: 'u', item: 'i', type: 'click' };
  expect(await store.appendEvents([event])).toEqual({ accepted: 1, duplicates: 0 });
  await store.close();
});
