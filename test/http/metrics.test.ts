import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';
import { until } from '../support/until.js';

const SHADOWED = 30;
let server: TinyServer;
let text: string;

async function fidelityCount(variant: string): Promise<number> {
  return (await server.engine.variants()).find(({ name }) => name === variant)?.fidelity.count ?? 0;
}

beforeAll(async () => {
  server = await startTinyServer({ shadow: { share: 1 }, experiments: [] });
  for (let user = 0; user < SHADOWED; user++) {
    const forced = { 'x-whittle-pipeline': 'small' };
    const reply = await server.post('/v1/recommend', { user: `u${user}` }, forced);
    expect(reply.status, reply.text).toBe(200);
  }
  await server.post('/v1/recommend', { user: 'u1' }, { 'x-whittle-pipeline': 'full' });
  await server.post('/v1/recommend', { user: 'u1', k: 0 });
  await server.post('/v1/recommend', { user: 'u1' }, { 'x-whittle-pipeline': 'no such' });
  await server.post('/v1/search', { query: 'lamp' });
  await server.get('/no/such/route');
  await until('every answer is ranked again', async () => (await fidelityCount('small')) === SHADOWED);
  const reply = await server.get('/metrics');
  expect(reply.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
  text = reply.text;
});

afterAll(() => server.stop());

/** Value of the one sample of a metric that has these labels. */
function sample(name: string, labels: Readonly<Record<string, string>> = {}): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const found = text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => wanted.every((label) => line.includes(label)));
  expect(found, `${name} ${wanted.join()}`).toHaveLength(1);
  return Number(found[0]?.split(' ').at(-1));
}

describe('GET /metrics', () => {
  test('live overlap of a variant: mean, count and 95 % interval, as the engine knows them', async () => {
    const small = (await server.engine.variants()).find(({ name }) => name === 'small')?.fidelity;
    for (const [measure, metric] of [
      [small?.overlapAt10, 'whittle_shadow_overlap_at_10'],
      [small?.ndcgAt10, 'whittle_shadow_ndcg_at_10'],
      [small?.scoreError, 'whittle_shadow_score_error'],
    ] as const) {
      const [mean, low, high] = ['mean', 'low', 'high'].map((part) =>
        sample(`${metric}_${part}`, { variant: 'small' }),
      );
      expect({ mean, low, high }).toEqual(measure);
      expect(low).toBeLessThan(mean ?? NaN);
      expect(high).toBeGreaterThan(mean ?? NaN);
      expect(sample(`${metric}_count`, { variant: 'small' })).toBe(SHADOWED);
    }
    expect(sample('whittle_shadow_overlap_at_10_mean', { variant: 'small' })).toBeGreaterThan(0.5);
    expect(sample('whittle_shadow_overlap_at_10_mean', { variant: 'small' })).toBeLessThan(1);
    expect(sample('whittle_shadow_overlap_at_10_count', { variant: 'full' })).toBe(0);
    expect(text).not.toContain('whittle_shadow_overlap_at_10_mean{variant="full"}');
    expect(sample('whittle_shadow_total', { variant: 'small' })).toBe(SHADOWED);
  });

  test('requests by endpoint, pipeline, variant, arm and outcome', () => {
    const served = { endpoint: 'recommend', pipeline: 'small', variant: 'small', arm: 'none', outcome: 'ok' };
    expect(sample('whittle_requests_total', served)).toBe(SHADOWED);
    expect(
      sample('whittle_requests_total', { endpoint: 'recommend', outcome: 'NOT_FOUND', pipeline: 'none' }),
    ).toBe(1);
    expect(sample('whittle_requests_total', { endpoint: 'search', outcome: 'ok', variant: 'none' })).toBe(1);
    expect(text).not.toContain('no such');
  });

  test('responses by route and status, with one label for whatever was not found', () => {
    expect(sample('whittle_http_responses_total', { route: '/v1/recommend', status: '200' })).toBe(
      SHADOWED + 1,
    );
    expect(sample('whittle_http_responses_total', { route: '/v1/recommend', status: '400' })).toBe(1);
    expect(sample('whittle_http_responses_total', { route: '/v1/recommend', status: '404' })).toBe(1);
    expect(sample('whittle_http_responses_total', { route: 'none', status: '404' })).toBe(1);
    expect(text).not.toContain('/no/such/route');
  });

  test('time by pipeline and stage', () => {
    for (const stage of ['history', 'retrieve', 'rank', 'queue', 'total'])
      expect(sample('whittle_stage_seconds_count', { pipeline: 'small', stage })).toBe(SHADOWED);
    const total = sample('whittle_stage_seconds_sum', { pipeline: 'small', stage: 'total' });
    expect(total).toBeGreaterThan(sample('whittle_stage_seconds_sum', { pipeline: 'small', stage: 'rank' }));
    expect(text).not.toMatch(/whittle_stage_seconds_count\{pipeline="full",stage="rank"\} [^1]/);
  });

  test('batches, queues and processes by runner', () => {
    // The full model's runner ranks the shadows and one request of its own.
    expect(sample('whittle_batch_jobs_sum', { runner: 'full' })).toBe(SHADOWED + 1);
    expect(sample('whittle_batch_jobs_sum', { runner: 'small' })).toBe(SHADOWED);
    expect(sample('whittle_batch_rows_sum', { runner: 'small' })).toBe(SHADOWED * 24);
    for (const runner of ['full', 'small', 'tower', 'text', 'vector']) {
      expect(sample('whittle_queue_depth', { runner })).toBe(0);
      expect(sample('whittle_runner_ready', { runner })).toBe(1);
      expect(sample('whittle_runner_restarts_total', { runner })).toBe(0);
    }
    for (const name of ['gateway', 'full', 'small', 'tower', 'text', 'vector']) {
      expect(sample('whittle_process_cpu_seconds_total', { process: name })).toBeGreaterThan(0);
      expect(sample('whittle_process_private_bytes', { process: name })).toBeGreaterThan(1e6);
      expect(sample('whittle_process_proportional_bytes', { process: name })).toBeGreaterThan(1e6);
    }
    expect(sample('whittle_gateway_process_resident_memory_bytes')).toBeGreaterThan(1e6);
  });

  test('a second scrape does not count processes twice', async () => {
    const before = sample('whittle_process_cpu_seconds_total', { process: 'text' });
    text = (await server.get('/metrics')).text;
    expect(sample('whittle_process_cpu_seconds_total', { process: 'text' })).toBeLessThan(2 * before);
  });
});
