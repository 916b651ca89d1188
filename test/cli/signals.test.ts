import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { afterAll, describe, expect, test } from 'vitest';
import { verifyAuditLog, type AuditLine } from '../../src/store/index.js';
import { isAlive } from '../support/processes.js';
import { until } from '../support/until.js';
import { Served } from './served.js';

const servers: Served[] = [];

afterAll(async () => {
  for (const server of servers) await server.remove();
});

async function start(changes?: Parameters<typeof Served.start>[0]): Promise<Served> {
  const server = await Served.start(changes);
  servers.push(server);
  return server;
}

/** A server that can only be stopped by force: a request that it has taken waits for runners that do not move. */
async function startStuck(): Promise<{ server: Served; request: Promise<string> }> {
  const server = await start({
    server: { port: 0, deadlineMs: 60_000 },
    runners: { hangTimeoutMs: 60_000 },
    overload: { adaptive: false },
  });
  for (const pid of server.runners()) process.kill(pid, 'SIGSTOP');
  const sent = httpRequest(`${server.url}/v1/recommend`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  });
  const request = new Promise<string>((resolve) => {
    sent.on('response', ({ statusCode }) => {
      resolve(String(statusCode));
    });
    sent.on('error', () => {
      resolve('cut off');
    });
  });
  sent.end(JSON.stringify({ user: 'u1' }));
  await once(sent, 'finish');
  // What was sent before these is read before these are answered.
  for (let call = 0; call < 3; call++) await fetch(`${server.url}/livez`);
  return { server, request };
}

async function auditOf({ auditPath }: Served): Promise<readonly AuditLine[]> {
  const lines: AuditLine[] = [];
  const { broken, torn } = await verifyAuditLog(auditPath, (line) => lines.push(line));
  expect([broken, torn]).toEqual([undefined, undefined]);
  return lines;
}

describe.concurrent('signals', () => {
  test('SIGHUP reloads, SIGTERM stops with exit code 0 and no runner left; both are audited', async () => {
    const server = await start();
    const runners = server.runners();
    expect(runners.length).toBeGreaterThan(0);
    expect(runners.filter((pid) => server.knowsToken(pid))).toEqual([]);
    server.child.kill('SIGHUP');
    expect(await server.logged('reload_on_signal')).toMatchObject({
      outcome: [{ pid: server.pid, outcome: 'unchanged' }],
    });
    expect((await server.recommend('u1')).status).toBe(200);
    expect(await server.end('SIGTERM')).toBe(0);
    expect(runners.filter(isAlive)).toEqual([]);
    expect(
      (await auditOf(server)).map(({ actor, action, outcome }) => [actor.name, action, outcome]),
    ).toEqual([
      ['server', 'server.start', 'noted'],
      ['signal', 'reload', 'requested'],
      ['signal', 'reload', 'applied'],
      ['server', 'server.stop', 'noted'],
    ]);
  });

  test('SIGINT stops it too, and a second signal ends it at once, with exit code 1 and no runner left', async () => {
    const { server, request } = await startStuck();
    const runners = server.runners();
    server.child.kill('SIGINT');
    expect(await server.logged('stopping')).toMatchObject({ signal: 'SIGINT' });
    expect(await server.end('SIGTERM')).toBe(1);
    expect(await request).toBe('cut off');
    await until('the runners are gone', () => !runners.some(isAlive));
  });

  test('what hangs is ended within 10 s', async () => {
    const { server, request } = await startStuck();
    const runners = server.runners();
    const startedAt = performance.now();
    expect(await server.end('SIGTERM')).toBe(1);
    // 10 s and the time that a busy machine takes to notice.
    expect(performance.now() - startedAt).toBeLessThan(20_000);
    expect(await server.logged('stop_timed_out')).toMatchObject({ level: 'error' });
    expect(await request).toBe('cut off');
    await until('the runners are gone', () => !runners.some(isAlive));
  });
});
