import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openStore } from '../../src/store/index.js';
import { errorCode } from '../support/error-code.js';
import { CommandedStore } from './commanded-store.js';
import { temporaryFolder } from './temporary-folder.js';

/** Has every write of a process fail from now on, as on a full disk: its files may have no more bytes than one page. */
function fillDisk({ process: { pid } }: CommandedStore): void {
  execFileSync('prlimit', ['--pid', String(pid), '--fsize=4096:']);
}

function makeRoom({ process: { pid } }: CommandedStore): void {
  execFileSync('prlimit', ['--pid', String(pid), '--fsize=unlimited']);
}

async function seeded(path: string): Promise<void> {
  const store = openStore(path);
  await store.seedHistories('hash', [{ user: 'known', history: ['i1', 'i2'] }]);
  await store.close();
}

it('a full disk: the first failure is told, later writes are refused, exposures wait and are written when there is room', async () => {
  const store = new CommandedStore(temporaryFolder());
  expect((await store.health()).failing).toBeUndefined();
  fillDisk(store);
  expect(await store.ask('append', 'ann')).toBe('STORE_FAILED');
  expect((await store.health()).failing?.reason).toMatch(/\w/);
  expect(await store.ask('append', 'ann')).toBe('STORE_FAILED');
  expect(await store.ask('expose', '8')).toEqual([true, true, true, true, true, false, false, false]);
  expect(await store.ask('report')).toMatchObject({
    health: { exposuresWaiting: 5, exposuresDropped: 3 },
    logged: ['store.writes_fail'],
    unhandled: [],
  });
  makeRoom(store);
  expect(await store.health()).toEqual({ exposuresWaiting: 0, exposuresDropped: 3 });
  expect(await store.ask('exposures')).toEqual(['r0', 'r1', 'r2', 'r3', 'r4']);
  expect(await store.ask('append', 'ann')).toEqual({ accepted: 1, duplicates: 0 });
  expect(await store.ask('report')).toMatchObject({ logged: ['store.writes_fail', 'store.writes_again'] });
  expect(await store.ask('close')).toBeUndefined();
});

it('an exposure that cannot be written is told too, and at the end as well', async () => {
  const store = new CommandedStore(temporaryFolder());
  await store.health();
  fillDisk(store);
  expect(await store.ask('expose', '3')).toEqual([true, true, true]);
  const { failing, exposuresWaiting } = await store.health();
  expect(failing?.reason).toMatch(/\w/);
  expect(exposuresWaiting).toBe(3);
  expect(await store.ask('close')).toBe('STORE_FAILED');
});

it('a folder that may not be written at the start: histories are read, and logged once it may', async () => {
  const path = temporaryFolder();
  await seeded(path);
  const setModes = (folder: number, file: number): void => {
    for (const name of readdirSync(path)) chmodSync(join(path, name), file);
    chmodSync(path, folder);
  };
  setModes(0o555, 0o444);
  // The superuser may write anything, so the child gives that up.
  const store = new CommandedStore(path, [], process.getuid?.() === 0 ? 65_534 : undefined);
  expect((await store.health()).failing?.reason).toMatch(/permission denied/i);
  expect(await store.ask('history', 'known')).toEqual(['i1', 'i2']);
  expect(await store.ask('append', 'ann')).toBe('STORE_FAILED');
  expect(await store.ask('expose', '1')).toEqual([true]);
  setModes(0o777, 0o666);
  expect((await store.health()).failing).toBeUndefined();
  expect(await store.ask('history', 'known')).toEqual(['i1', 'i2']);
  expect(await store.ask('exposures')).toEqual(['r0']);
  expect(await store.ask('append', 'known')).toEqual({ accepted: 1, duplicates: 0 });
  expect(await store.ask('history', 'known')).toEqual(['i1', 'i2', 'new']);
});

/** Whether this user may mount a disk that only one process sees. */
function mayMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', temporaryFolder()], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

it('a read-only disk: histories are read, and written once the disk may be', async (context) => {
  if (!mayMount()) return context.skip('mounting a disk needs rights that this user lacks');
  const [disk, source] = [temporaryFolder(), temporaryFolder()];
  await seeded(join(source, 'store'));
  const steps = [
    `mount -t tmpfs -o size=64m tmpfs "${disk}"`,
    `cp -r "${source}/store" "${disk}/store"`,
    `mount -o remount,ro "${disk}"`,
    'exec "$@"',
  ];
  const wrapper = ['unshare', '--mount', 'sh', '-c', steps.join(' && '), 'sh'];
  const store = new CommandedStore(join(disk, 'store'), wrapper);
  expect((await store.health()).failing?.reason).toMatch(/read-only/i);
  expect(await store.ask('history', 'known')).toEqual(['i1', 'i2']);
  expect(await store.ask('append', 'known')).toBe('STORE_FAILED');
  const target = String(store.process.pid);
  execFileSync('nsenter', ['--target', target, '--mount', 'mount', '-o', 'remount,rw', disk]);
  expect((await store.health()).failing).toBeUndefined();
  expect(await store.ask('append', 'known')).toEqual({ accepted: 1, duplicates: 0 });
  expect(await store.ask('history', 'known')).toEqual(['i1', 'i2', 'new']);
  expect(await store.ask('report')).toMatchObject({
    logged: ['store.writes_fail', 'store.writes_again'],
    unhandled: [],
  });
});

it('what is wrong, and not only unwritable, is refused at the start all the same', () => {
  const open = (path: string): unknown => openStore(path, { allowUnwritable: true });
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, 'text');
  expect(errorCode(() => open(file))).toBe('STORE_FAILED');
  const corrupt = temporaryFolder();
  mkdirSync(corrupt, { recursive: true });
  writeFileSync(join(corrupt, 'data.mdb'), Buffer.alloc(100_000, 7));
  expect(errorCode(() => open(corrupt))).toBe('STORE_FAILED');
});
