import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/index.js';
import { temporaryFolder } from './temporary-folder.js';

const opener = fileURLToPath(new URL('opener-child.ts', import.meta.url));

interface Outcome {
  readonly code?: string;
  readonly message?: string;
  readonly path?: string;
  readonly users?: number;
  /** Items in the histories of users u0 to u2999. */
  readonly items?: number;
  readonly events?: number;
}

/** A process of its own, which a damaged file could kill: opens the store at each path it is sent. */
class Opener {
  readonly process: ChildProcess;

  constructor(uid?: number) {
    const identity = uid === undefined ? {} : { uid, gid: uid };
    this.process = fork(opener, { execArgv: ['--import', 'tsx'], ...identity });
  }

  async open(path: string): Promise<Outcome | string> {
    const settled = new AbortController();
    const { signal } = settled;
    const answered = once(this.process, 'message', { signal }).then(([outcome]) => outcome as Outcome);
    const died = once(this.process, 'exit', { signal }).then(([code, by]) => `died: ${String(by ?? code)}`);
    this.process.send(path);
    const outcome = await Promise.race([answered, died]);
    settled.abort();
    await Promise.allSettled([answered, died]);
    return outcome;
  }
}

let shared: Opener;
beforeAll(() => {
  shared = new Opener();
});
afterAll(() => {
  shared.process.kill();
});

async function filledStore(): Promise<string> {
  const path = temporaryFolder();
  const store = openStore(path);
  const history = Array.from({ length: 30 }, (_, index) => `item-${String(index)}`);
  const users = Array.from({ length: 3000 }, (_, index) => ({ user: `u${String(index)}`, history }));
  await store.seedHistories('hash', users);
  // Later commits put the roots of the trees on freed pages, in front of pages that a cut can then lose.
  for (const { user } of users.slice(0, 40))
    await store.appendEvents([{ id: user, user, item: 'item', type: 'click' }]);
  await store.close();
  return path;
}

/** What {@link filledStore} holds. */
const whole = { users: 3000, items: 3000 * 30 + 40, events: 40 };

function failure(path: string, reason: RegExp): Outcome {
  const message = expect.stringMatching(reason) as string;
  return { code: 'STORE_FAILED', path, message };
}

describe('openStore', () => {
  it('makes the folder, and opens it again', async () => {
    const path = join(temporaryFolder(), 'new', 'store.v1');
    await openStore(path).close();
    expect(statSync(join(path, 'data.mdb')).isFile()).toBe(true);
    expect(await shared.open(path)).toEqual({ users: 0, items: 0, events: 0 });
  });

  it('refuses what is not a directory', async () => {
    const path = join(temporaryFolder(), 'file');
    writeFileSync(path, 'text');
    expect(await shared.open(path)).toEqual(failure(path, /it is not a directory/));
    expect(await shared.open(join(path, 'below'))).toEqual(failure(join(path, 'below'), /ENOTDIR/));
  });

  it('refuses a folder it may not write', async () => {
    const path = await filledStore();
    for (const name of ['data.mdb', 'lock.mdb']) chmodSync(join(path, name), 0o444);
    chmodSync(path, 0o555);
    // The superuser may write anything, so the child gives that up.
    const restricted = new Opener(process.getuid?.() === 0 ? 65_534 : undefined);
    expect(await restricted.open(path)).toEqual(failure(path, /permission denied/i));
    restricted.process.kill();
    chmodSync(path, 0o755);
  });

  it.each([
    ['text', Buffer.from('hello')],
    ['zeros', Buffer.alloc(100_000)],
    ['noise', Buffer.alloc(100_000, 7)],
  ])('refuses a data file of %s', async (_, content) => {
    const path = temporaryFolder();
    writeFileSync(join(path, 'data.mdb'), content);
    expect(await shared.open(path)).toEqual(failure(path, /data\.mdb is corrupt/));
    expect(readFileSync(join(path, 'data.mdb')).equals(content)).toBe(true);
  });

  it('refuses a data file that was cut off, or opens it whole where the cut lost no page in use', async () => {
    const content = readFileSync(join(await filledStore(), 'data.mdb'));
    const outcomes = { refused: 0, opened: 0 };
    for (let bytes = content.length - 1; bytes > 0; bytes -= Math.ceil(content.length / 40)) {
      const path = temporaryFolder();
      const file = join(path, 'data.mdb');
      writeFileSync(file, content.subarray(0, bytes));
      const outcome = await shared.open(path);
      if (typeof outcome === 'object' && outcome.users !== undefined) {
        expect(outcome).toEqual(whole);
        outcomes.opened++;
      } else {
        expect(outcome).toEqual(failure(path, /data\.mdb is corrupt/));
        expect(readFileSync(file).equals(content.subarray(0, bytes))).toBe(true);
        outcomes.refused++;
      }
    }
    expect(outcomes.refused).toBeGreaterThan(30);
    expect(outcomes.opened).toBeGreaterThan(0);
  });

  it('opens a whole data file whose header counts unused pages behind its end', async () => {
    const path = await filledStore();
    const file = join(path, 'data.mdb');
    const content = readFileSync(file);
    // Bytes 144 to 152 of a meta page: the last page's number.
    for (const at of [144, 4096 + 144]) content.writeBigUInt64LE(content.readBigUInt64LE(at) + 5n, at);
    writeFileSync(file, content);
    expect(await shared.open(path)).toEqual(whole);
  });

  it('opens an empty data file as a new store', async () => {
    const path = temporaryFolder();
    writeFileSync(join(path, 'data.mdb'), '');
    expect(await shared.open(path)).toEqual({ users: 0, items: 0, events: 0 });
  });

  it('refuses a directory in the place of the data file', async () => {
    const path = temporaryFolder();
    mkdirSync(join(path, 'data.mdb'));
    expect(await shared.open(path)).toEqual(failure(path, /EISDIR/));
  });

  it('opens with a lock file that a crash left damaged', async () => {
    const path = await filledStore();
    writeFileSync(join(path, 'lock.mdb'), Buffer.alloc(8192, 7));
    expect(await shared.open(path)).toEqual(whole);
  });
});
