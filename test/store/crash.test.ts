import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openStore } from '../../src/store/index.js';
import { temporaryFolder } from './temporary-folder.js';

const writer = fileURLToPath(new URL('writer-child.ts', import.meta.url));

/** Runs the writer and kills it the moment it has acknowledged `batches`; the ids it acknowledged. */
async function writeAndKill(path: string, start: number, batches: number): Promise<Set<string>> {
  const child = fork(writer, [path, String(start)], { execArgv: ['--import', 'tsx'] });
  const acknowledged = new Set<string>();
  let received = 0;
  child.on('message', (ids: string[]) => {
    for (const id of ids) acknowledged.add(id);
    if (++received === batches) child.kill('SIGKILL');
  });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  return acknowledged;
}

it('keeps every acknowledged event once, and histories that agree, through kills amid a stream', async () => {
  const path = temporaryFolder();
  const acknowledged = new Set<string>();
  let start = 0;
  for (const batches of [1, 40, 150]) {
    for (const id of await writeAndKill(path, start, batches)) acknowledged.add(id);
    const store = openStore(path, { historyLimit: 50 });
    const rows = [...store.events()];
    const ids = rows.map(({ value }) => value.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(rows.map(({ sequence }) => sequence)).toEqual(ids.map((_, index) => index));
    expect([...acknowledged].filter((id) => !ids.includes(id))).toEqual([]);
    for (let user = 0; user < 7; user++) {
      const own = rows.filter(({ value }) => value.user === `u${String(user)}` && value.type !== 'view');
      const items = own.map(({ value }) => value.item).slice(-50);
      expect(store.history(`u${String(user)}`) ?? []).toEqual(items);
    }
    start = ids.length;
    await store.close();
  }
  expect(acknowledged.size).toBeGreaterThan(3 * 190);
});
