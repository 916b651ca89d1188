import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  openStore,
  type EventInput,
  type Exposure,
  type Store,
  type StoreOptions,
} from '../../src/store/index.js';
import { errorCode, rejectionCode } from '../support/error-code.js';
import { temporaryFolder } from './temporary-folder.js';

function open(options: StoreOptions = {}, path = temporaryFolder()): Store {
  const store = openStore(path, options);
  onTestFinished(() => store.close());
  return store;
}

function event(id: string, user = 'u', item = `item-${id}`, type = 'click'): EventInput {
  return { id, user, item, type, timeMs: 1 };
}

function exposure(requestId: string, items: readonly string[] = ['i1', 'i2']): Exposure {
  const arm = { experiment: 'ranker', arm: 'small', pipeline: 'int8', variant: 'int8' };
  return { requestId, timeMs: 5, user: 'u', ...arm, forced: false, items };
}

const logged = (store: Store): string[] => Array.from(store.events(), ({ value }) => value.id);

describe('appendEvents', () => {
  it('logs events in order of arrival and extends histories', async () => {
    const store = open({ now: () => 777 });
    const rated = { id: 'e2', user: 'b', item: 'y', type: 'rating', value: 4.5, requestId: 'r1' };
    expect(await store.appendEvents([event('e1', 'a', 'x'), rated])).toEqual({ accepted: 2, duplicates: 0 });
    await store.appendEvents([event('e3', 'a', 'z')]);
    expect([...store.events()]).toEqual([
      { sequence: 0, value: event('e1', 'a', 'x') },
      { sequence: 1, value: { ...rated, timeMs: 777 } },
      { sequence: 2, value: event('e3', 'a', 'z') },
    ]);
    expect(store.history('a')).toEqual(['x', 'z']);
    expect(store.history('b')).toEqual(['y']);
    expect(store.history('nobody')).toBeUndefined();
  });

  it('keeps views out of histories', async () => {
    const store = open();
    await store.appendEvents([
      event('e1', 'a', 'x', 'view'),
      event('e2', 'b', 'x', 'view'),
      event('e3', 'b', 'y'),
    ]);
    expect(store.history('a')).toBeUndefined();
    expect(store.history('b')).toEqual(['y']);
    expect(store.counts().events).toBe(3);
  });

  it('takes an id once: within a batch, between concurrent batches, after a restart', async () => {
    const path = temporaryFolder();
    const store = open({}, path);
    const first = await store.appendEvents([event('e1'), event('e1', 'other', 'late'), event('e2')]);
    expect(first).toEqual({ accepted: 2, duplicates: 1 });
    const receipts = await Promise.all([
      store.appendEvents([event('e3')]),
      store.appendEvents([event('e3')]),
    ]);
    expect(receipts.map((receipt) => receipt.accepted)).toEqual([1, 0]);
    await store.close();
    const again = open({}, path);
    expect(await again.appendEvents([event('e2'), event('e4')])).toEqual({ accepted: 1, duplicates: 1 });
    expect(logged(again)).toEqual(['e1', 'e2', 'e3', 'e4']);
    expect(again.history('u')).toEqual(['item-e1', 'item-e2', 'item-e3', 'item-e4']);
    expect(again.history('other')).toBeUndefined();
  });

  it('agrees with a simple model on any sequence of batches', async () => {
    const rows = fc.record({
      id: fc.integer({ min: 0, max: 30 }).map((id) => `e${String(id)}`),
      user: fc.constantFrom('a', 'b', '\u0000', 'ü/😀'),
      item: fc.string({ maxLength: 3 }),
      type: fc.constantFrom('click', 'view'),
      timeMs: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(rows, { maxLength: 8 }), { maxLength: 6 }), async (batches) => {
        const store = open({ historyLimit: 3 });
        const expected = new Map<string, EventInput>();
        for (const batch of batches) {
          const before = expected.size;
          for (const row of batch) if (!expected.has(row.id)) expected.set(row.id, row);
          const accepted = expected.size - before;
          expect(await store.appendEvents(batch)).toEqual({ accepted, duplicates: batch.length - accepted });
        }
        expect(Array.from(store.events(), ({ value }) => value)).toEqual([...expected.values()]);
        for (const user of ['a', 'b', '\u0000', 'ü/😀']) {
          const items = [...expected.values()].filter((row) => row.user === user && row.type !== 'view');
          expect(store.history(user) ?? []).toEqual(items.map((row) => row.item).slice(-3));
        }
        await store.close();
      }),
      { numRuns: 15 },
    );
  });

  it('removes the oldest events beyond the limit, and their ids', async () => {
    const store = open({ maxEvents: 3 });
    await store.appendEvents(['e0', 'e1', 'e2', 'e3', 'e4'].map((id) => event(id)));
    expect(logged(store)).toEqual(['e2', 'e3', 'e4']);
    expect(await store.appendEvents([event('e4'), event('e0')])).toEqual({ accepted: 1, duplicates: 1 });
    expect([...store.events()].map(({ sequence }) => sequence)).toEqual([3, 4, 5]);
    expect(store.counts().events).toBe(3);
  });

  it('refuses ids that cannot be keys, and then writes nothing', async () => {
    const store = open();
    expect(await rejectionCode(store.appendEvents([event('ok'), event('')]))).toBe('INPUT_INVALID');
    expect(await rejectionCode(store.appendEvents([event('e', 'é'.repeat(257))]))).toBe('INPUT_INVALID');
    expect(logged(store)).toEqual([]);
    await store.appendEvents([event('é'.repeat(256), 'u'.repeat(512))]);
    expect(store.history('u'.repeat(512))).toHaveLength(1);
  });
});

describe('seedHistories', () => {
  const seeds = [
    { user: 'a', history: ['1', '2', '3', '4'] },
    { user: 'b', history: ['9'] },
  ];

  it('writes once a bundle, cut to the limit, and events extend what it wrote', async () => {
    const path = temporaryFolder();
    const store = open({ historyLimit: 3 }, path);
    expect(await store.seedHistories('hash-1', seeds)).toBe(2);
    expect(store.history('a')).toEqual(['2', '3', '4']);
    await store.appendEvents([event('e1', 'a', '5')]);
    expect(store.history('a')).toEqual(['3', '4', '5']);
    await store.close();
    const again = open({ historyLimit: 3 }, path);
    expect(await again.seedHistories('hash-1', seeds)).toBe(0);
    expect(again.history('a')).toEqual(['3', '4', '5']);
  });

  it('replaces the histories of an earlier bundle, but none with events', async () => {
    const store = open();
    await store.seedHistories('hash-1', seeds);
    await store.appendEvents([event('e1', 'b', '10'), event('e2', 'new', 'n')]);
    const next = [...seeds, { user: 'new', history: ['0'] }].map((row) => ({ ...row, history: ['7'] }));
    expect(await store.seedHistories('hash-2', next)).toBe(1);
    expect([store.history('a'), store.history('b'), store.history('new')]).toEqual([
      ['7'],
      ['9', '10'],
      ['n'],
    ]);
  });

  it('is done again where it was cut short', async () => {
    const store = open();
    function* failing(): Generator<{ user: string; history: string[] }> {
      for (let index = 0; index < 2500; index++) yield { user: `u${String(index)}`, history: ['1'] };
      throw new Error('the file ended');
    }
    await expect(store.seedHistories('hash-1', failing())).rejects.toThrow('the file ended');
    expect(store.counts().users).toBe(2000);
    expect(await store.seedHistories('hash-1', seeds)).toBe(2);
  });
});

describe('exposures', () => {
  it('are found at once and durable after flush', async () => {
    const path = temporaryFolder();
    const store = open({}, path);
    expect(store.appendExposure(exposure('r1'))).toBe(true);
    expect(store.exposure('r1')).toEqual(exposure('r1'));
    expect(store.counts()).toMatchObject({ exposures: 0, exposuresBuffered: 1 });
    await store.flush();
    expect(store.counts()).toMatchObject({ exposures: 1, exposuresBuffered: 0 });
    const reader = open({}, path);
    expect([...reader.exposures()]).toEqual([{ sequence: 0, value: exposure('r1') }]);
    expect(reader.exposure('r1')).toEqual(exposure('r1'));
    expect(reader.exposure('r2')).toBeUndefined();
  });

  it('are written without anybody asking', async () => {
    const store = open();
    store.appendExposure(exposure('r1'));
    await expect.poll(() => store.counts().exposures, { timeout: 20_000 }).toBe(1);
  });

  it('are written by close, in order and in several batches', async () => {
    const path = temporaryFolder();
    const store = open({}, path);
    const ids = Array.from({ length: 1700 }, (_, index) => `r${String(index)}`);
    for (const id of ids) store.appendExposure(exposure(id));
    await store.close();
    expect(Array.from(open({}, path).exposures(), ({ value }) => value.requestId)).toEqual(ids);
  });

  it('count once a request id', async () => {
    const store = open();
    store.appendExposure(exposure('r1', ['first']));
    store.appendExposure(exposure('r1', ['second']));
    await store.flush();
    store.appendExposure(exposure('r1', ['third']));
    await store.flush();
    expect(Array.from(store.exposures(), ({ value }) => value.items)).toEqual([['first']]);
    expect(store.exposure('r1')?.items).toEqual(['first']);
  });

  it('are dropped and counted where the buffer is full', async () => {
    const store = open({ exposureBufferLimit: 2 });
    const taken = ['r1', 'r2', 'r3'].map((id) => store.appendExposure(exposure(id)));
    expect(taken).toEqual([true, true, false]);
    expect(store.counts()).toMatchObject({ exposuresBuffered: 2, exposuresDropped: 1 });
    await store.flush();
    expect(store.appendExposure(exposure('r4'))).toBe(true);
    await store.flush();
    expect(Array.from(store.exposures(), ({ value }) => value.requestId)).toEqual(['r1', 'r2', 'r4']);
  });

  it('are kept up to the limit', async () => {
    const store = open({ maxExposures: 1 });
    for (const id of ['r1', 'r2']) store.appendExposure(exposure(id));
    await store.flush();
    expect(Array.from(store.exposures(), ({ value }) => value.requestId)).toEqual(['r2']);
    expect(store.exposure('r1')).toBeUndefined();
  });
});

describe('ranges', () => {
  it('cover a log of several pages, whole or in part, while it grows', async () => {
    const store = open();
    await store.appendEvents(Array.from({ length: 2500 }, (_, index) => event(`e${String(index)}`)));
    const sequences: number[] = [];
    for (const { sequence } of store.events()) {
      sequences.push(sequence);
      if (sequence === 0) await store.appendEvents([event('late')]);
    }
    expect(sequences).toEqual(Array.from({ length: 2500 }, (_, index) => index));
    expect(Array.from(store.events({ from: 998, to: 1003 }), ({ sequence }) => sequence)).toEqual([
      998, 999, 1000, 1001, 1002,
    ]);
    expect(Array.from(store.events({ from: 2500 }), ({ value }) => value.id)).toEqual(['late']);
    expect([...store.events({ from: 9999 })]).toEqual([]);
  });
});

describe('a closed store', () => {
  it('says so', async () => {
    const store = open({}, join(temporaryFolder(), 'a', 'b.c'));
    const pending = store.appendEvents([event('e1')]);
    await store.close();
    await store.close();
    expect(await pending).toEqual({ accepted: 1, duplicates: 0 });
    expect(errorCode(() => store.history('u'))).toBe('STORE_FAILED');
    expect(errorCode(() => store.counts())).toBe('STORE_FAILED');
    expect(errorCode(() => store.appendExposure(exposure('r1')))).toBe('STORE_FAILED');
    expect(await rejectionCode(store.appendEvents([event('e2')]))).toBe('STORE_FAILED');
  });
});
