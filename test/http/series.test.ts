import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/core/index.js';
import { createServer, type Server } from '../../src/http/index.js';
import { MAX_SERIES, OTHER, SeriesBudget } from '../../src/http/series-budget.js';
import { openEngine, type Engine } from '../../src/serving/index.js';
import { tinyConfig } from '../support/tiny-server.js';

const PIPELINES = 60;
const ARMS = 40;
let engine: Engine;
let server: Server;
let folder: string;

const names = Array.from({ length: PIPELINES }, (_, place) => `pipeline-${place}`);

async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<number> {
  const reply = await server.fastify.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload: JSON.stringify(body),
  });
  return reply.statusCode;
}

const scrape = async (): Promise<string> => (await server.fastify.inject('/metrics')).body;

/** Sample lines: a bucket counts as much as any other. */
function seriesIn(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

beforeAll(async () => {
  const arms = Array.from({ length: ARMS }, (_, place) => ({
    name: `arm-${place}`,
    weight: 1,
    pipeline: names[place],
  }));
  const { config, directory } = await tinyConfig(
    { experiments: [{ name: 'e', salt: 's', arms }], shadow: { share: 1 } },
    { lean: true },
  );
  folder = directory;
  const path = join(config.bundle, 'bundle.json');
  const manifest = JSON.parse(await readFile(path, 'utf8')) as { pipelines: Record<string, unknown> };
  for (const [place, name] of names.entries())
    manifest.pipelines[name] = manifest.pipelines[place % 2 === 0 ? 'full' : 'small'];
  await writeFile(path, JSON.stringify(manifest));
  engine = await openEngine({ config, log: silentLog });
  server = await createServer(engine, { config: config.server, log: silentLog, version: '0.0.0' });
});

afterAll(async () => {
  await server.close();
  await engine.close();
  await rm(folder, { recursive: true });
});

describe('the number of series', () => {
  test('stays below its bound with 60 pipelines, 40 arms and every kind of answer', async () => {
    for (const name of names) {
      const forced = { 'x-whittle-pipeline': name };
      expect(await post('/v1/rank', { user: 'u1', items: ['i1', 'i2'] }, forced)).toBe(200);
      expect(await post('/v1/search', { query: 'lamp' }, forced)).toBe(404);
      expect(await post('/v1/rank', { user: 'u1', items: ['unknown'] }, forced)).toBe(400);
    }
    for (let user = 0; user < 200; user++) await post('/v1/recommend', { user: `u${user}` });
    for (const url of [
      '/v1/recommend',
      '/v1/search',
      '/v1/rank',
      '/v1/events',
      '/v1/none',
      '/x',
      '/docs/x',
    ]) {
      await post(url, { wrong: 1 });
      await post(url, 'x'.repeat(2_000_000));
      await server.fastify.inject(url);
    }
    for (const url of ['/v1/variants', '/v1/experiments', '/v1/users', '/livez', '/readyz', '/docs/json'])
      await server.fastify.inject(url);
    const series = seriesIn(await scrape());
    expect(series.length).toBeLessThanOrEqual(MAX_SERIES);
    expect(new Set(series.map((line) => line.slice(0, line.lastIndexOf(' ')))).size).toBe(series.length);
    const answers = series.filter((line) => line.startsWith('whittle_answers_total'));
    const answered = answers.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    expect(answered).toBe(PIPELINES + 200);
    expect(answers.some((line) => line.includes(`pipeline="${OTHER}"`))).toBe(true);
  });

  test('the page of metrics names each of them', async () => {
    const page = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const shown = [...(await scrape()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name ?? '');
    const own = shown.filter((name) => !name.startsWith('whittle_gateway_'));
    expect(own.length).toBeGreaterThan(20);
    expect(own.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
    const listed = [...page.matchAll(/`(whittle_[a-z0-9_]+)`/g)].map(([, name]) => name ?? '');
    expect(listed.filter((name) => name !== 'whittle_gateway_' && !own.includes(name))).toEqual([]);
  });
});

describe('SeriesBudget', () => {
  test('names keep their own label for as long as there is room, and what they have ever after', () => {
    const budget = new SeriesBudget();
    const first = names.map((name) => budget.label('pipeline', name));
    const own = first.filter((label) => label !== OTHER);
    expect(own.length).toBeGreaterThan(5);
    expect(own).toEqual(names.slice(0, own.length));
    expect(names.map((name) => budget.label('pipeline', name))).toEqual(first);
    expect(budget.label('variant', 'one more')).toBe(OTHER);
  });

  test('a bundle of the usual size has room for all of its names', () => {
    const budget = new SeriesBudget();
    const kept = (kind: 'pipeline' | 'runner' | 'variant' | 'arm', count: number): boolean[] =>
      names.slice(0, count).map((name) => budget.label(kind, name) === name);
    const all = [kept('pipeline', 5), kept('runner', 6), kept('variant', 4), kept('arm', 2)].flat();
    expect(all).toEqual(all.map(() => true));
  });
});
