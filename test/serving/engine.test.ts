import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom, completeConfig, silentLog, type ServerConfig } from '../../src/core/index.js';
import { calibrationFeeds, openEngine, type Engine, type Observation } from '../../src/serving/index.js';
import { openStore } from '../../src/store/index.js';
import { rejectionCode } from '../support/error-code.js';
import { makeTinyBundle } from '../support/tiny-bundle.js';
import { until } from '../support/until.js';

let directory: string;
let config: ServerConfig;
let engine: Engine;
const seen: Observation[] = [];
let requests = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'whittle-test-'));
  await makeTinyBundle(join(directory, 'bundle'), { lean: true });
  config = completeConfig({
    bundle: join(directory, 'bundle'),
    store: { path: join(directory, 'store') },
    server: { deadlineMs: 20_000 },
    shadow: { share: 0.25 },
    experiments: [{ name: 'e', salt: 's', arms: [{ name: 'all', weight: 1, pipeline: 'small' }] }],
  });
  engine = await openEngine({ config, log: silentLog });
  engine.onObservation((observation) => seen.push(observation));
});

afterAll(async () => {
  await engine.close();
  await rm(directory, { recursive: true });
});

const requestId = (): string => `r${requests++}`;
const shadows = (): Observation[] => seen.filter(({ kind }) => kind.startsWith('shadow'));

describe('shadows', () => {
  test('a drawn share of the answers is ranked again by the full model', async () => {
    const random = createRandom(1);
    const drawn = Array.from({ length: 40 }, () => random.uniform()).filter((value) => value < 0.25).length;
    expect(drawn).toBeGreaterThan(4);
    for (let user = 0; user < 40; user++)
      await engine.recommend({ requestId: requestId(), user: `u${user}`, k: 5 });
    await until('the shadows', () => shadows().length === drawn);
    expect(new Set(shadows().map(({ kind }) => kind))).toEqual(new Set(['shadow']));
    const small = (await engine.variants()).find(({ name }) => name === 'small');
    expect(small?.fidelity.count).toBe(drawn);
    expect(small?.requests).toBe(40);
  });

  test('a forced full model needs none', async () => {
    const before = shadows().length;
    for (let user = 0; user < 8; user++)
      await engine.recommend({ requestId: requestId(), user: `u${user}`, k: 5, forcedPipeline: 'full' });
    const [full] = await engine.variants();
    expect(full?.fidelity).toEqual({ count: 0 });
    expect(shadows()).toHaveLength(before);
  });
});

test('every answer is observed once with its exposure in the log', async () => {
  const answer = await engine.recommend({ requestId: 'exposed', user: 'u3', k: 4 });
  const failed = await rejectionCode(engine.recommend({ requestId: 'refused', history: ['none'], k: 4 }));
  expect(failed).toBe('ITEM_UNKNOWN');
  const answers = seen.filter((one) => one.kind === 'answer' && one.answer.requestId === 'exposed');
  const { items: _items, ...info } = answer;
  expect(answers).toEqual([{ kind: 'answer', endpoint: 'recommend', answer: info }]);
  expect(seen.at(-1)).toEqual({
    kind: 'failure',
    endpoint: 'recommend',
    code: 'ITEM_UNKNOWN',
    pipeline: 'full',
  });
  const store = openStore(config.store.path);
  await until('the exposure is written', () => store.exposure('exposed') !== undefined);
  expect(store.exposure('exposed')).toMatchObject({
    user: 'u3',
    experiment: 'e',
    arm: 'all',
    pipeline: 'small',
    variant: 'small',
    forced: false,
    items: answer.items.map(({ id }) => id),
  });
  expect(store.exposure('refused')).toBeUndefined();
  await store.close();
});

test('a bad event rejects, and does not throw past the promise', async () => {
  const promise = engine.recordEvents([{ id: 'x', user: 'u1', item: 'none', type: 'click' }]);
  expect(await rejectionCode(promise)).toBe('ITEM_UNKNOWN');
});

test('calibration feeds are those of known users, the same for the same seed', async () => {
  const [one, same, other] = [
    await calibrationFeeds(config.bundle, 1),
    await calibrationFeeds(config.bundle, 1),
    await calibrationFeeds(config.bundle, 2),
  ];
  expect(one).toEqual(same);
  expect(one).not.toEqual(other);
  // 40 users, eight a feed.
  expect(one.map((feed) => feed['history']?.dims)).toEqual(Array(5).fill([8, 8]));
  for (const { candidate, request_index: index } of one) expect(candidate?.dims).toEqual(index?.dims);
});

test('a closed engine refuses what comes', async () => {
  const closing = await openEngine({
    config: { ...config, store: { path: join(directory, 'other') } },
    log: silentLog,
  });
  await closing.close();
  expect(closing.notReadyReason()).toBe('the server is stopping');
  expect(await rejectionCode(closing.recommend({ requestId: 'late', user: 'u1', k: 3 }))).toBe('NOT_READY');
  expect(await rejectionCode(closing.recordEvents([{ id: 'l', user: 'u', item: 'i1', type: 'click' }]))).toBe(
    'STORE_FAILED',
  );
});
