import { copyFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readManifest, writeManifest } from '../../src/core/index.js';
import type { Answer, DegradationStatus, VariantStatus } from '../../src/serving/index.js';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';
import { TINY_USERS } from '../support/tiny-bundle.js';
import { until } from '../support/until.js';

const MIN_PAIRS = 30;
const CLIENTS = 48;
let server: TinyServer;

beforeAll(async () => {
  server = await startTinyServer(
    {
      cache: { maxEntries: 0 },
      shadow: { share: 1 },
      overload: {
        adaptive: false,
        degradation: { enabled: true, queueMs: 5, retentionFloor: 0.3, minPairs: MIN_PAIRS },
      },
      experiments: [{ name: 'e', salt: 's', arms: [{ name: 'all', weight: 1, pipeline: 'full' }] }],
    },
    { lean: true, slowFull: true },
  );
});

afterAll(() => server.stop());

interface Status {
  readonly variants: readonly VariantStatus[];
  readonly degradation: DegradationStatus;
}

const status = async (): Promise<Status> => (await server.get('/v1/variants')).json() as Status;
const degradation = async (): Promise<DegradationStatus> => (await status()).degradation;
const retention = async (): Promise<VariantStatus['retention'] | undefined> =>
  (await status()).variants.find(({ name }) => name === 'small')?.retention;

const items = Array.from({ length: 24 }, (_, row) => `i${row}`);
/** A request of nobody known, which no experiment has. */
const anonymous = async (headers = {}): Promise<Answer> =>
  (await server.post('/v1/rank', { history: ['i1', 'i5'], items }, headers)).answer();
const ofUser = async (user: number): Promise<Answer> =>
  (await server.post('/v1/recommend', { user: `u${user}` })).answer();

/** Sends more than the full model can rank while `use` runs; answers what was answered. */
async function overloaded(use: () => Promise<void>): Promise<Answer[]> {
  const answers: Answer[] = [];
  const end = new AbortController();
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (!end.signal.aborted) {
      answers.push(await anonymous());
      await pause(10);
    }
  });
  try {
    await use();
  } finally {
    end.abort();
    await Promise.all(clients);
  }
  return answers;
}

async function sample(metric: string): Promise<number> {
  const { text } = await server.get('/metrics');
  const line = text.split('\n').find((one) => one.startsWith(metric));
  return Number(line?.split(' ').at(-1));
}

test('under overload nothing moves to a pipeline whose retention is not known', async () => {
  const answers = await overloaded(async () => {
    await until('the queue is long', async () => (await degradation()).queueMs > 5);
    expect(await ofUser(1)).toMatchObject({ pipeline: 'full' });
  });
  const { to, share, candidates } = await degradation();
  expect([to, share]).toEqual([undefined, 0]);
  expect(candidates).toEqual([{ pipeline: 'small', eligible: false, reason: `0 of ${MIN_PAIRS} pairs` }]);
  expect(new Set(answers.map(({ pipeline }) => pipeline))).toEqual(new Set(['full']));
  expect(await sample('whittle_degradation_eligible{pipeline="small"}')).toBe(0);
});

test('what users do with answers of the full model becomes retention of the other variant', async () => {
  for (let user = 0; user < TINY_USERS; user++) {
    const { requestId, items: shown } = await ofUser(user);
    const events = shown.slice(0, 2).map(({ id }, place) => ({
      id: `${requestId}-${place}`,
      user: `u${user}`,
      item: id,
      type: place === 0 ? 'click' : 'view',
      requestId,
    }));
    expect((await server.post('/v1/events', events)).status).toBe(200);
  }
  await until('every click is a pair', async () => (await retention())?.pairs === TINY_USERS);
  const { users, mean = 0, low = 0 } = (await retention()) ?? {};
  expect(users).toBe(TINY_USERS);
  // A click on full's first item gives full 1, so that no other order can have more.
  expect(mean).toBeLessThan(1);
  expect(low).toBeLessThan(mean);
  expect(low).toBeGreaterThan(0.3);
  expect(await sample('whittle_retention_mean{variant="small"}')).toBe(mean);
  expect(await sample('whittle_retention_low{variant="small"}')).toBe(low);
  expect(await sample('whittle_retention_pairs{variant="small"}')).toBe(TINY_USERS);
  const { fidelity } = (await status()).variants.find(({ name }) => name === 'small') ?? {};
  expect(fidelity?.overlapAt10?.mean).toBeGreaterThan(0.5);
  await until('it may take over', async () => (await degradation()).to === 'small');
});

test('under overload traffic moves to it and back, but nobody of an experiment and nothing forced', async () => {
  const ofUsers: Answer[] = [];
  const answers = await overloaded(async () => {
    await until('a third of the traffic moves', async () => (await sample('whittle_degraded_share')) >= 0.3);
    ofUsers.push(...(await Promise.all(Array.from({ length: TINY_USERS }, (_, user) => ofUser(user)))));
    expect((await degradation()).share, 'while they were asked').toBeGreaterThan(0);
    expect(await anonymous({ 'x-whittle-pipeline': 'full' })).toMatchObject({
      pipeline: 'full',
      forced: true,
    });
  });
  for (const answer of ofUsers) expect(answer).toMatchObject({ pipeline: 'full', arm: 'all' });
  expect(ofUsers.filter(({ degradedFrom }) => degradedFrom !== undefined)).toEqual([]);
  const moved = answers.filter(({ degradedFrom }) => degradedFrom !== undefined);
  expect(moved.length).toBeGreaterThan(0);
  expect(moved.length).toBeLessThan(answers.length);
  for (const answer of moved)
    expect(answer).toMatchObject({ pipeline: 'small', variant: 'small', degradedFrom: 'full', arm: 'none' });
  expect(await sample('whittle_degraded_answers_total{pipeline="small"}')).toBe(moved.length);
  await until('all of it is back', async () => (await degradation()).share === 0);
  expect(await anonymous()).not.toHaveProperty('degradedFrom');
});

test('a reload keeps what is known of a variant where its files and those of full are the same', async () => {
  const { bundle } = server.config;
  const { files: _files, ...manifest } = await readManifest(bundle);
  await writeManifest(bundle, { ...manifest, provenance: { made: 'again' } });
  expect(await server.engine.reload()).toMatchObject({ outcome: 'swapped', started: [] });
  expect((await retention())?.pairs).toBe(TINY_USERS);
  await until('it may still take over', async () => (await degradation()).to === 'small');

  await copyFile(join(bundle, 'full.onnx'), join(bundle, 'other.onnx'));
  await rename(join(bundle, 'other.onnx'), join(bundle, 'small.onnx'));
  await writeManifest(bundle, manifest);
  expect(await server.engine.reload()).toMatchObject({ outcome: 'swapped', started: ['small'] });
  expect(await retention()).toEqual({ pairs: 0, users: 0 });
  await until('it may no more', async () => (await degradation()).to === undefined);
});
