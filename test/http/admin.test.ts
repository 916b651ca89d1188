import { chmod, mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, silentLog, WhittleError, type ExperimentConfig } from '../../src/core/index.js';
import {
  Changes,
  createAdminServer,
  engineControl,
  readAdminToken,
  type AdminControl,
  type AdminServer,
} from '../../src/http/index.js';
import { AuditLog, verifyAuditLog, type AuditLine } from '../../src/store/index.js';
import { rejectionCode } from '../support/error-code.js';
import { TINY_USERS } from '../support/tiny-bundle.js';
import { startTinyServer, type ErrorReply, type TinyServer } from '../support/tiny-server.js';

const TOKEN = 'a-token-for-tests-only';
const experiment: ExperimentConfig = {
  name: 'e',
  salt: 's',
  enabled: true,
  arms: [
    { name: 'control', weight: 3, pipeline: 'full' },
    { name: 'small', weight: 1, pipeline: 'small' },
  ],
};

let folder = '';
let tiny: TinyServer;
let audit: AuditLog;
let admin: AdminServer;
let url = '';

async function openAdmin(control: AdminControl): Promise<AdminServer> {
  const config = { ...tiny.config.admin, port: 0, auditPath: audit.path };
  const changes = new Changes(control, audit);
  return createAdminServer({
    config,
    token: TOKEN,
    control,
    changes,
    audit,
    version: '1.2.3',
    log: silentLog,
  });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-admin-'));
  tiny = await startTinyServer({ experiments: [experiment] }, { lean: true });
  audit = await AuditLog.open(join(folder, 'audit.jsonl'), silentLog);
  admin = await openAdmin(engineControl(tiny.engine));
  url = await admin.listen();
});

afterAll(async () => {
  await admin.close();
  await audit.close();
  await tiny.stop();
  await rm(folder, { recursive: true });
});

interface Reply<T> {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: T;
}

/** A call over a real connection; `headers` win over the token's. */
function call<T>(
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  base = url,
): Promise<Reply<T>> {
  const all = {
    authorization: `Bearer ${TOKEN}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...headers,
  };
  return new Promise((resolve, reject) => {
    const sent = httpRequest(`${base}${path}`, { method, headers: all }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: JSON.parse(text) as T });
      });
    });
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function lines(limit = 100): Promise<readonly AuditLine[]> {
  return (await call<{ lines: AuditLine[] }>('GET', `/admin/audit?limit=${limit}`)).body.lines;
}

/** Arms of the tiny bundle's users, as the public interface tells them. */
async function armsOfUsers(): Promise<(string | undefined)[]> {
  const arms = [];
  for (let user = 0; user < TINY_USERS; user++) {
    const reply = await tiny.post('/v1/recommend', { user: `u${user}` });
    expect(reply.status, reply.text).toBe(200);
    arms.push(reply.answer().arm);
  }
  return arms;
}

describe('who may call', () => {
  async function refusal(
    base: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<Reply<ErrorReply>> {
    return call<ErrorReply>('POST', '/admin/reload', undefined, headers, base);
  }

  test.each([
    ['no token', { authorization: '' }, /missing/],
    ['another scheme', { authorization: `Basic ${TOKEN}` }, /missing/],
    ['a wrong token', { authorization: 'Bearer a-token-for-tests-onlx' }, /wrong/],
    ['a part of the token', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }, /wrong/],
    ['a page of this machine', { origin: 'http://127.0.0.1:8080' }, /browser/],
    ['a page without Origin', { 'sec-fetch-site': 'cross-site' }, /browser/],
    ['a name made to point here', { host: 'evil.example:8081' }, /Host/],
    ['a name that begins as ours', { host: '127.0.0.1.evil.example' }, /Host/],
  ])('%s is refused', async (_name, headers, reason) => {
    const server = await openAdmin(engineControl(tiny.engine));
    const base = await server.listen();
    const before = audit.head;
    const { status, body } = await refusal(base, headers);
    expect([status, body.error.code]).toEqual([403, 'FORBIDDEN']);
    expect(body.error.message).toMatch(reason);
    expect(body.error.message).not.toContain(TOKEN);
    expect(audit.head).toEqual(before);
    await server.close();
  });

  test('refusals are limited, and the right token passes all the same', async () => {
    const server = await openAdmin(engineControl(tiny.engine));
    const base = await server.listen();
    const replies = [];
    for (let attempt = 0; attempt < 12; attempt++) {
      replies.push(await refusal(base, { authorization: `Bearer wrong-token-number-${attempt}` }));
    }
    expect(replies.map(({ status }) => status)).toEqual([...Array<number>(10).fill(403), 429, 429]);
    expect(replies[11]?.headers['retry-after']).toBe('60');
    expect((await call('GET', '/admin/status', undefined, {}, base)).status).toBe(200);
    await server.close();
  });

  test('the names of this machine pass', async () => {
    for (const host of ['localhost', 'localhost:8081', '127.0.0.1:1', '[::1]:8081'])
      expect((await call('GET', '/admin/status', undefined, { host })).status).toBe(200);
  });

  test('no other machine reaches it', async () => {
    const control = engineControl(tiny.engine);
    const parts = { control, changes: new Changes(control, audit), audit, version: '1', log: silentLog };
    for (const host of ['0.0.0.0', '::', '192.168.0.1', 'example.com', '127.0.0.1.example.com']) {
      const config = { ...tiny.config.admin, host };
      expect(await rejectionCode(createAdminServer({ ...parts, config, token: TOKEN }))).toBe(
        'CONFIG_INVALID',
      );
    }
  });
});

describe('the token', () => {
  const config = { host: '127.0.0.1', port: 0, auditPath: 'x' };

  test('is taken out of the environment; without one there is no admin interface', async () => {
    const environment = { WHITTLE_ADMIN_TOKEN: TOKEN };
    expect(await readAdminToken(config, environment)).toBe(TOKEN);
    expect(environment).toEqual({});
    expect(await readAdminToken(config, {})).toBeUndefined();
  });

  test('a file of it must be private and long enough', async () => {
    const tokenFile = join(folder, 'token');
    await writeFile(tokenFile, `${TOKEN}\n`, { mode: 0o600 });
    expect(await readAdminToken({ ...config, tokenFile }, { WHITTLE_ADMIN_TOKEN: 'other' })).toBe(TOKEN);
    await chmod(tokenFile, 0o604);
    expect(await rejectionCode(readAdminToken({ ...config, tokenFile }, {}))).toBe('CONFIG_INVALID');
    await chmod(tokenFile, 0o640);
    await truncate(tokenFile, 15);
    expect(await rejectionCode(readAdminToken({ ...config, tokenFile }, {}))).toBe('CONFIG_INVALID');
    await rm(tokenFile);
    expect(await rejectionCode(readAdminToken({ ...config, tokenFile }, {}))).toBe('FILE_MISSING');
    expect(await rejectionCode(readAdminToken(config, { WHITTLE_ADMIN_TOKEN: 'short' }))).toBe(
      'CONFIG_INVALID',
    );
  });
});

describe('changes', () => {
  interface Changed {
    readonly experiments: readonly ExperimentConfig[];
    readonly usersMovedPercent: number;
    readonly note: string;
  }

  test('a new weight moves the users it says, from the next request on', async () => {
    const before = await armsOfUsers();
    const { status, body } = await call<Changed>('PATCH', '/admin/experiments/e', { weights: { small: 3 } });
    expect(status).toBe(200);
    expect(body.usersMovedPercent).toBe(25);
    expect(body.note).toContain('until the server starts again');
    expect(body.experiments[0]).toMatchObject({ salt: 's', arms: [{ weight: 3 }, { weight: 3 }] });
    const after = await armsOfUsers();
    expect(after.filter((arm) => arm === 'small').length).toBeGreaterThan(
      before.filter((arm) => arm === 'small').length,
    );
    // The last arm only grew: who had it keeps it.
    for (const [user, arm] of before.entries()) if (arm === 'small') expect(after[user]).toBe('small');
    const { body: now } = await call<{ experiments: { arms: { requests: number }[] }[] }>(
      'GET',
      '/admin/experiments',
    );
    const requests = now.experiments[0]?.arms.map((arm) => arm.requests) ?? [];
    expect((requests[0] ?? 0) + (requests[1] ?? 0)).toBe(2 * TINY_USERS);
  });

  test('who, what, before and after are in the log, before it is made and after', async () => {
    const requested = must((await lines(2))[0], 'line');
    const applied = must((await lines(1))[0], 'line');
    expect(requested).toMatchObject({
      actor: { name: 'admin', address: '127.0.0.1' },
      action: 'experiments.patch',
      outcome: 'requested',
      before: [experiment],
      after: [{ ...experiment, arms: [experiment.arms[0], { name: 'small', weight: 3, pipeline: 'small' }] }],
    });
    expect(applied).toMatchObject({ outcome: 'applied', change: requested.change });
  });

  test('experiments stop, start and are replaced', async () => {
    const stopped = await call<Changed>('PATCH', '/admin/experiments/e', { enabled: false });
    expect(stopped.body.usersMovedPercent).toBe(100);
    expect(new Set(await armsOfUsers())).toEqual(new Set(['none']));
    const other = { name: 'f', salt: 't', arms: [{ name: 'only', weight: 1, pipeline: 'small' }] };
    const replaced = await call<Changed>('PUT', '/admin/experiments', { experiments: [other] });
    expect(replaced.body.experiments).toEqual([{ ...other, enabled: true }]);
    expect(new Set(await armsOfUsers())).toEqual(new Set(['only']));
    expect((await call('PUT', '/admin/experiments', { experiments: [] })).status).toBe(200);
    expect(new Set(await armsOfUsers())).toEqual(new Set(['none']));
  });

  test('the default pipeline is that of requests outside experiments', async () => {
    const { body } = await call<{ pipeline: string }>('PUT', '/admin/default-pipeline', {
      pipeline: 'small',
    });
    expect(body.pipeline).toBe('small');
    expect((await tiny.post('/v1/recommend', { user: 'u3' })).answer().pipeline).toBe('small');
    expect((await call<{ defaultPipeline: string }>('GET', '/admin/status')).body).toMatchObject({
      version: '1.2.3',
      defaultPipeline: 'small',
      pipelines: ['full', 'small'],
      experiments: [],
      gateways: [{ pid: process.pid, ready: true, restarts: 0 }],
      audit: { path: audit.path, entries: audit.head.sequence, head: audit.head.hash },
    });
  });

  test('a reload says what it did', async () => {
    const { status, body } = await call<{ gateways: unknown[] }>('POST', '/admin/reload');
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body.gateways).toMatchObject([{ pid: process.pid, outcome: 'unchanged' }]);
    expect((await lines(2)).map(({ action, outcome }) => [action, outcome])).toEqual([
      ['reload', 'requested'],
      ['reload', 'applied'],
    ]);
  });

  const arms = experiment.arms;
  test.each<[string, string, unknown, number, string]>([
    ['PUT', '/admin/experiments', { experiments: [experiment, experiment] }, 400, 'INPUT_INVALID'],
    [
      'PUT',
      '/admin/experiments',
      { experiments: [{ ...experiment, arms: [arms[0], arms[0]] }] },
      400,
      'INPUT_INVALID',
    ],
    ['PUT', '/admin/experiments', { experiments: [{ ...experiment, extra: 1 }] }, 400, 'INPUT_INVALID'],
    [
      'PUT',
      '/admin/experiments',
      { experiments: [{ ...experiment, arms: [{ ...arms[0], weight: 0 }] }] },
      400,
      'INPUT_INVALID',
    ],
    [
      'PUT',
      '/admin/experiments',
      { experiments: [{ ...experiment, arms: [{ ...arms[0], pipeline: 'x' }] }] },
      404,
      'NOT_FOUND',
    ],
    ['PUT', '/admin/experiments', {}, 400, 'INPUT_INVALID'],
    ['PATCH', '/admin/experiments/none', { enabled: true }, 404, 'NOT_FOUND'],
    ['PATCH', '/admin/experiments/e', {}, 400, 'INPUT_INVALID'],
    ['PATCH', '/admin/experiments/e', { salt: 'other' }, 400, 'INPUT_INVALID'],
    ['PATCH', '/admin/experiments/e', { weights: { nobody: 1 } }, 400, 'INPUT_INVALID'],
    ['PATCH', '/admin/experiments/e', { weights: { control: 0, small: 0 } }, 400, 'INPUT_INVALID'],
    ['PATCH', '/admin/experiments/e', { weights: { small: -1 } }, 400, 'INPUT_INVALID'],
    ['PUT', '/admin/default-pipeline', { pipeline: 'x' }, 404, 'NOT_FOUND'],
    ['GET', '/admin/audit?limit=0', undefined, 400, 'INPUT_INVALID'],
    ['GET', '/admin/nothing', undefined, 404, 'NOT_FOUND'],
  ])('%s %s %j changes nothing', async (method, path, body, status, code) => {
    tiny.engine.setExperiments([experiment]);
    const pipeline = tiny.engine.defaultPipeline();
    const reply = await call<ErrorReply>(method, path, body);
    expect([reply.status, reply.body.error.code]).toEqual([status, code]);
    expect(tiny.engine.experimentConfigs()).toEqual([experiment]);
    expect(tiny.engine.defaultPipeline()).toBe(pipeline);
    const last = must((await lines(1))[0], 'line');
    expect(['applied', 'failed']).toContain(last.outcome);
  });

  test('changes that come at once are made one after the other, each from the one before', async () => {
    tiny.engine.setExperiments([experiment]);
    const weights = [5, 7, 9].flatMap((weight) => [
      { weights: { small: weight } },
      { weights: { control: weight } },
    ]);
    await Promise.all(weights.map((body) => call('PATCH', '/admin/experiments/e', body)));
    const changes = (await lines(12)).filter(({ outcome }) => outcome === 'requested');
    for (const [place, { before }] of changes.slice(1).entries())
      expect(before).toEqual(changes[place]?.after);
    expect(changes.at(-1)?.after).toEqual(tiny.engine.experimentConfigs());
  });
});

test('what cannot be logged is not done', async () => {
  tiny.engine.setExperiments([experiment]);
  const damage = await audit.append({ actor: { name: 'test' }, action: 'note', outcome: 'noted' });
  await writeFile(audit.path, 'x', { flag: 'a' });
  const reply = await call<ErrorReply>('PATCH', '/admin/experiments/e', { enabled: false });
  expect([reply.status, reply.body.error.code]).toEqual([500, 'FILE_UNWRITABLE']);
  expect(tiny.engine.experimentConfigs()).toEqual([experiment]);
  expect((await call<{ holds: boolean }>('GET', '/admin/audit')).body.holds).toBe(false);
  const { torn, head } = await verifyAuditLog(audit.path);
  expect([torn?.length, head.hash]).toEqual([1, damage.hash]);
  // As it was, so that later tests find a log that holds.
  const { size } = await stat(audit.path);
  await truncate(audit.path, size - 1);
});

test('a reload that fails answers why, and the log says so', async () => {
  const failure = new WhittleError('BUNDLE_INVALID', 'golden request 1 differs', { variant: 'small' });
  const server = await openAdmin({ ...engineControl(tiny.engine), reload: () => Promise.reject(failure) });
  const base = await server.listen();
  const reply = await call<ErrorReply>('POST', '/admin/reload', undefined, {}, base);
  expect([reply.status, reply.body.error.code]).toEqual([500, 'BUNDLE_INVALID']);
  expect((await lines(1))[0]).toMatchObject({
    action: 'reload',
    outcome: 'failed',
    error: { code: 'BUNDLE_INVALID', message: 'golden request 1 differs' },
  });
  await server.close();
});
