import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mergeMetrics } from '../../src/http/peers.js';
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

  test('requests by endpoint and outcome, answers by pipeline and arm', () => {
    expect(sample('whittle_requests_total', { endpoint: 'recommend', outcome: 'ok' })).toBe(SHADOWED + 1);
    expect(sample('whittle_requests_total', { endpoint: 'recommend', outcome: 'NOT_FOUND' })).toBe(1);
    expect(sample('whittle_requests_total', { endpoint: 'search', outcome: 'ok' })).toBe(1);
    expect(sample('whittle_answers_total', { pipeline: 'small', arm: 'none' })).toBe(SHADOWED);
    expect(sample('whittle_answers_total', { pipeline: 'full', arm: 'none' })).toBe(2);
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

  test('time by stage, and of whole answers by pipeline', () => {
    for (const stage of ['history', 'retrieve', 'total'])
      expect(sample('whittle_stage_seconds_count', { stage })).toBe(SHADOWED + 2);
    // The search is ordered by retrieval alone.
    expect(sample('whittle_stage_seconds_count', { stage: 'rank' })).toBe(SHADOWED + 1);
    const total = sample('whittle_stage_seconds_sum', { stage: 'total' });
    expect(total).toBeGreaterThan(sample('whittle_stage_seconds_sum', { stage: 'rank' }));
    expect(sample('whittle_answer_seconds_count', { pipeline: 'small' })).toBe(SHADOWED);
    const seconds = ['small', 'full'].map((pipeline) => sample('whittle_answer_seconds_sum', { pipeline }));
    expect((seconds[0] ?? 0) + (seconds[1] ?? 0)).toBeCloseTo(total, 9);
  });

  test('buckets add up', () => {
    const bounds = [...text.matchAll(/whittle_stage_seconds_bucket\{le="([^"]+)",stage="total"\} (\d+)/g)];
    const counts = bounds.map(([, , count]) => Number(count));
    expect(bounds.at(-1)?.[1]).toBe('+Inf');
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect(counts.at(-1)).toBe(sample('whittle_stage_seconds_count', { stage: 'total' }));
    expect(text).toContain('# TYPE whittle_stage_seconds histogram');
  });

  test('batches, queues and processes by runner', () => {
    // The full model's runner ranks the shadows and one request of its own.
    expect(sample('whittle_batches_total', { runner: 'full' })).toBe(SHADOWED + 1);
    expect(sample('whittle_batches_total', { runner: 'small' })).toBe(SHADOWED);
    // The search runs on the text index, every other answer on the tower too.
    expect(sample('whittle_batch_jobs_sum')).toBe(2 * SHADOWED + 1 + (SHADOWED + 1) + 1);
    expect(sample('whittle_batch_rows_sum')).toBeGreaterThanOrEqual(24 * (2 * SHADOWED + 1));
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

  test('as plain data, added up over one gateway, it says the same', async () => {
    const merged = await mergeMetrics({ reports: [await server.server.report()], past: [] });
    const counting = (lines: string): string[] =>
      lines.split('\n').filter((line) => /^whittle_(requests|answers|batch|stage|answer|shadow)_/.test(line));
    expect(counting(text).length).toBeGreaterThan(50);
    expect(counting(merged).sort()).toEqual(counting(text).sort());
  });
});
