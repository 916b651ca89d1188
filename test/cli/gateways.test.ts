import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tinyConfig, type ErrorReply } from '../support/tiny-server.js';
import type { Answer, ExperimentStatus, ReloadReport, VariantStatus } from '../../src/serving/index.js';
import { verifyAuditLog, type AuditLine } from '../../src/store/index.js';
import { childPids, isAlive } from '../support/processes.js';
import { makeTinyBundle } from '../support/tiny-bundle.js';
import { until } from '../support/until.js';
import { Served } from './served.js';
import { whittle } from './whittle.js';

const REQUESTS = 12;
/** Two gateways with their runners start from sources one after the other. */
const START_TIMEOUT_MS = 120_000;
const servers: Served[] = [];

afterAll(async () => {
  for (const server of servers) await server.remove();
});

async function start(changes?: Parameters<typeof Served.start>[0]): Promise<Served> {
  const server = await Served.start(changes, '--gateways', '2');
  servers.push(server);
  return server;
}

/** Arms of many answers, each on a connection of its own, so that every gateway has some of them. */
async function arms(server: Served): Promise<Set<string | undefined>> {
  const found = new Set<string | undefined>();
  for (let request = 0; request < REQUESTS; request++) {
    const response = await server.recommend(`u${request}`);
    expect(response.status).toBe(200);
    found.add(((await response.json()) as Answer).arm);
  }
  return found;
}

async function get(server: Served, path: string): Promise<string> {
  const response = await fetch(`${server.url}${path}`, { headers: { connection: 'close' } });
  expect(response.status).toBe(200);
  return response.text();
}

/** Sum of the samples of a metric. */
function total(metrics: string, name: string): number {
  const lines = metrics
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

interface AdminStatus {
  readonly gateways: readonly { readonly pid?: number; readonly ready: boolean; readonly restarts: number }[];
}

async function gatewaysOf(server: Served): Promise<AdminStatus['gateways']> {
  return ((await server.admin('GET', '/admin/status')).body as AdminStatus).gateways;
}

describe('two gateways on one port', () => {
  let server: Served;
  const only = {
    name: 'e',
    salt: 's',
    enabled: true,
    arms: [{ name: 'only', weight: 1, pipeline: 'small' }],
  };

  beforeAll(async () => {
    server = await start();
  }, START_TIMEOUT_MS);

  test('each has runners of its own, and both answer', async () => {
    expect(server.gateways).toHaveLength(2);
    expect(server.runners()).toHaveLength(6);
    expect(await arms(server)).toEqual(new Set(['none']));
    expect((await gatewaysOf(server)).map(({ pid }) => pid)).toEqual(server.gateways);
    const below = [...server.gateways, ...server.runners()];
    expect(below.filter((pid) => server.knowsToken(pid))).toEqual([]);
  });

  test('metrics and status are of both, whoever is asked', async () => {
    for (let scrape = 0; scrape < 3; scrape++) {
      const metrics = await get(server, '/metrics');
      expect(total(metrics, 'whittle_requests_total')).toBe(REQUESTS);
      expect(total(metrics, 'whittle_runner_ready')).toBe(6);
      expect(metrics.match(/^whittle_shadow_overlap_at_10_count\{variant="small"\}/gm)).toHaveLength(1);
      const { variants } = JSON.parse(await get(server, '/v1/variants')) as { variants: VariantStatus[] };
      expect(variants.map(({ name, requests }) => [name, requests])).toEqual([
        ['full', REQUESTS],
        ['small', 0],
      ]);
      expect(variants[0]?.runner.processes).toHaveLength(2);
    }
  });

  test('a change is made in both', async () => {
    const { status } = await server.admin('PUT', '/admin/experiments', { experiments: [only] });
    expect(status).toBe(200);
    expect(await arms(server)).toEqual(new Set(['only']));
    const { experiments } = JSON.parse(await get(server, '/v1/experiments')) as {
      experiments: ExperimentStatus[];
    };
    expect(experiments[0]?.arms[0]?.requests).toBe(REQUESTS);
  });

  test('a change that one refuses is made in none', async () => {
    const wrong = { ...only, arms: [{ name: 'a', weight: 1, pipeline: 'no such' }] };
    const { status } = await server.admin('PUT', '/admin/experiments', { experiments: [wrong] });
    expect(status).toBe(404);
    expect((await server.admin('PUT', '/admin/default-pipeline', { pipeline: 'no such' })).status).toBe(404);
    expect(await arms(server)).toEqual(new Set(['only']));
  });

  test('a reload goes through both, and stops where one refuses the bundle', async () => {
    const { body } = await server.admin('POST', '/admin/reload');
    expect(body).toMatchObject({ gateways: server.gateways.map((pid) => ({ pid, outcome: 'unchanged' })) });
    const manifest = join(server.directory, 'bundle', 'bundle.json');
    const text = await readFile(manifest, 'utf8');
    await writeFile(manifest, '{}');
    const refused = await server.admin('POST', '/admin/reload');
    expect(refused.status).toBe(500);
    expect((refused.body as ErrorReply).error).toMatchObject({
      code: 'BUNDLE_INVALID',
      details: { pid: server.gateways[0], reloaded: [] },
    });
    await writeFile(manifest, text);
    expect(await arms(server)).toEqual(new Set(['only']));
  });

  test('a new bundle is rolled out to both, one after the other', async () => {
    await makeTinyBundle(join(server.directory, 'bundle'), { lean: true, seed: 8 });
    const { status, body } = await server.admin('POST', '/admin/reload');
    expect(status, JSON.stringify(body)).toBe(200);
    const { gateways } = body as { gateways: ReloadReport[] };
    expect(gateways.map(({ outcome }) => outcome)).toEqual(['swapped', 'swapped']);
    const versions = new Set(gateways.map(({ bundleVersion }) => bundleVersion));
    expect(versions.size).toBe(1);
    for (let request = 0; request < 4; request++) {
      const answer = (await (await server.recommend('u1')).json()) as Answer;
      expect(versions).toContain(answer.bundleVersion);
    }
    expect(await arms(server)).toEqual(new Set(['only']));
  });

  test('one that is killed is replaced, by one that does what is in force; counters do not go back', async () => {
    const before = total(await get(server, '/metrics'), 'whittle_requests_total');
    const [killed = 0, other] = server.gateways;
    const runners = childPids(killed);
    process.kill(killed, 'SIGKILL');
    await server.logged('gateway_replaced');
    await until('both are ready', async () => {
      const gateways = await gatewaysOf(server);
      return gateways.length === 2 && gateways.every(({ ready }) => ready);
    });
    expect((await gatewaysOf(server)).map(({ restarts }) => restarts)).toEqual([1, 0]);
    expect((await gatewaysOf(server)).map(({ pid }) => pid)).toContain(other);
    expect(await arms(server)).toEqual(new Set(['only']));
    expect(total(await get(server, '/metrics'), 'whittle_requests_total')).toBe(before + REQUESTS);
    await until('its runners are gone', () => !runners.some(isAlive));
  });

  test('SIGTERM stops all with exit code 0; the audit log holds every change', async () => {
    const processes = [...(await gatewaysOf(server)).map(({ pid }) => pid ?? 0), ...server.runners()];
    expect(processes).toHaveLength(8);
    expect(await server.end('SIGTERM')).toBe(0);
    expect(processes.filter(isAlive)).toEqual([]);
    const lines: AuditLine[] = [];
    const { broken, torn } = await verifyAuditLog(server.auditPath, (line) => lines.push(line));
    expect([broken, torn]).toEqual([undefined, undefined]);
    expect(lines.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      'server.start noted',
      'experiments.replace requested',
      'experiments.replace applied',
      'experiments.replace requested',
      'experiments.replace failed',
      'default-pipeline.set requested',
      'default-pipeline.set failed',
      'reload requested',
      'reload applied',
      'reload requested',
      'reload failed',
      'reload requested',
      'reload applied',
      'server.stop noted',
    ]);
  });
});

test(
  'where every gateway crashes too often the server ends, with exit code 1',
  async () => {
    const server = await start({ runners: { maxCrashesPerMinute: 1 } });
    const [first = 0, second = 0] = server.gateways;
    process.kill(first, 'SIGKILL');
    await server.logged('gateway_given_up');
    expect(await arms(server)).toEqual(new Set(['none']));
    expect(await gatewaysOf(server)).toMatchObject([
      { pid: second, ready: true },
      { ready: false, reason: 'it crashed too often within a minute and is not started again' },
    ]);
    const runners = server.runners();
    process.kill(second, 'SIGKILL');
    expect(await server.end()).toBe(1);
    await until('the runners are gone', () => !runners.some(isAlive));
  },
  START_TIMEOUT_MS,
);

describe.concurrent('what keeps gateways from starting is said once', () => {
  test('no bundle', async () => {
    const { code, stderr } = await whittle('serve', 'none', '--gateways', '2', '--quiet');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^FILE_MISSING: [^\n]*none\/bundle\.json[^\n]*\n$/);
  });

  test('a port in use', async ({ onTestFinished }) => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { config, directory } = await tinyConfig({ server: { port } }, { lean: true });
    onTestFinished(() => rm(directory, { recursive: true }));
    const path = join(directory, 'whittle.json');
    await writeFile(path, JSON.stringify(config));
    const { code, stderr } = await whittle('serve', '--config', path, '--gateways', '2', '--quiet');
    taken.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^PORT_IN_USE: Port ${port} [^\n]*\n$`));
  });
});
