import { expect, test } from 'vitest';
import { silentLog, WhittleError } from '../../src/core/index.js';
import { Reloads } from '../../src/serving/reloads.js';
import type { ReloadReport } from '../../src/serving/types.js';
import { rejectionCode } from '../support/error-code.js';

const report = (bundleVersion: string): ReloadReport => ({
  outcome: 'swapped',
  bundleVersion,
  previousVersion: 'before',
  started: [],
  kept: [],
  loadMs: 1,
  drainMs: 1,
});

test('one at a time; calls during one share the one after it; a refusal does not stop the next', async () => {
  const open: { settle: (report: ReloadReport) => void; refuse: (error: Error) => void }[] = [];
  const reloads = new Reloads(
    () => new Promise((settle, refuse) => open.push({ settle, refuse })),
    silentLog,
  );
  expect([reloads.busy, reloads.last]).toEqual([false, undefined]);
  const first = reloads.request();
  await Promise.resolve();
  const [second, third] = [reloads.request(), reloads.request()];
  expect(second).not.toBe(first);
  expect(third).toBe(second);
  expect(open).toHaveLength(1);
  expect(reloads.busy).toBe(true);
  open[0]?.refuse(new WhittleError('HASH_MISMATCH', 'other', { file: 'a' }));
  expect(await rejectionCode(first)).toBe('HASH_MISMATCH');
  expect(reloads.last?.error).toEqual({ code: 'HASH_MISMATCH', message: 'other', details: { file: 'a' } });
  expect(open).toHaveLength(2);
  open[1]?.settle(report('new'));
  expect((await second).bundleVersion).toBe('new');
  await reloads.settled();
  expect(reloads.busy).toBe(false);
  expect(reloads.last).toMatchObject({ report: report('new') });
  expect(reloads.last?.error).toBeUndefined();
});
