import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ClientLimiter, networkOf } from '../../src/http/client-limits.js';
import { startTinyServer, type Reply, type TinyServer } from '../support/tiny-server.js';

const UNLIMITED = { requestsPerSecond: 0, burst: 1, maxConcurrent: 0 };

describe('ClientLimiter', () => {
  test('lets a burst through, then the rate, and says when to come again', () => {
    let now = 0;
    const limiter = new ClientLimiter({ ...UNLIMITED, requestsPerSecond: 0.5, burst: 3 }, () => now);
    const admitted = (): boolean => limiter.admit('a').admitted;
    expect([admitted(), admitted(), admitted(), admitted()]).toEqual([true, true, true, false]);
    expect(limiter.admit('a')).toEqual({ admitted: false, retryAfterSeconds: 2 });
    expect(limiter.admit('b').admitted, 'another client').toBe(true);
    now = 1_500;
    expect(limiter.admit('a')).toEqual({ admitted: false, retryAfterSeconds: 1 });
    now = 2_000;
    expect([admitted(), admitted()]).toEqual([true, false]);
    now = 1_000_000;
    expect([admitted(), admitted(), admitted(), admitted()], 'no more than the burst').toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  test('whatever the arrivals, no stretch of time has more than burst + rate × its length', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(
        gaps,
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 10 }),
        (ms, rate, burst) => {
          let now = 0;
          const limiter = new ClientLimiter({ ...UNLIMITED, requestsPerSecond: rate, burst }, () => now);
          const times: number[] = [];
          for (const gap of ms) {
            now += gap;
            if (limiter.admit('a').admitted) times.push(now);
          }
          for (let from = 0; from < times.length; from++) {
            for (let to = from; to < times.length; to++) {
              const seconds = ((times[to] ?? 0) - (times[from] ?? 0)) / 1000;
              expect(to - from + 1).toBeLessThanOrEqual(burst + rate * seconds + 1e-6);
            }
          }
        },
      ),
    );
  });

  test('what it says to wait is enough, to the second', () => {
    const rates = fc.double({ min: 0.05, max: 50, noNaN: true });
    fc.assert(
      fc.property(rates, fc.integer({ min: 1, max: 5 }), (requestsPerSecond, burst) => {
        let now = 0;
        const limiter = new ClientLimiter({ ...UNLIMITED, requestsPerSecond, burst }, () => now);
        let admission = limiter.admit('a');
        while (admission.admitted) admission = limiter.admit('a');
        now += admission.retryAfterSeconds * 1000 + 1e-6;
        expect(limiter.admit('a').admitted).toBe(true);
      }),
    );
  });

  test('holds the number of open requests', () => {
    const limiter = new ClientLimiter({ ...UNLIMITED, maxConcurrent: 2 });
    const first = limiter.admit('a');
    expect(first.admitted && limiter.admit('a').admitted).toBe(true);
    expect(limiter.admit('a')).toEqual({ admitted: false, retryAfterSeconds: 1 });
    if (first.admitted) first.release();
    expect(limiter.admit('a').admitted).toBe(true);
    expect(limiter.admit('a').admitted).toBe(false);
  });

  test('a flood of names does not make it grow without bound, nor forget one that keeps coming', () => {
    const limiter = new ClientLimiter({ ...UNLIMITED, requestsPerSecond: 0.001, burst: 1 }, () => 0);
    expect(limiter.admit('regular').admitted).toBe(true);
    const before = process.memoryUsage().heapUsed;
    for (let name = 0; name < 200_000; name++) {
      limiter.admit(`name ${name}`);
      if (name % 1_000 === 0) expect(limiter.admit('regular').admitted).toBe(false);
    }
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100e6);
  });
});

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:0DB8:0001:0002::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('the client at %s is %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

describe('the server', () => {
  let server: TinyServer;
  const items = ['i1', 'i2'];
  const rank = (client: string): Promise<Reply> =>
    server.post('/v1/rank', { user: 'u1', items }, { 'x-client-id': client });

  beforeAll(async () => {
    const clients = { header: 'X-Client-Id', requestsPerSecond: 0.01, burst: 3, maxConcurrent: 2 };
    server = await startTinyServer(
      { server: { port: 0, deadlineMs: 60_000, clients }, cache: { maxEntries: 0 } },
      { lean: true },
    );
  });
  afterAll(() => server.stop());

  test('refuses a client beyond its rate with 429 and Retry-After, and no other', async () => {
    const statuses = [];
    for (let sent = 0; sent < 5; sent++) statuses.push((await rank('hot')).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const refused = await rank('hot');
    expect(refused.error()).toMatchObject({ code: 'RATE_LIMITED', retryable: true });
    expect(refused.error().requestId).toBe(refused.headers['x-request-id']);
    const retryAfter = Number(refused.headers['retry-after']);
    expect(retryAfter).toBeGreaterThan(90);
    expect(retryAfter).toBeLessThanOrEqual(100);
    expect((await rank('calm')).status).toBe(200);
    const text = (await server.get('/metrics')).text;
    expect(text).toContain('whittle_requests_total{endpoint="rank",outcome="RATE_LIMITED"} 3');
  });

  test('a name that is too long, or none, leaves the address', async () => {
    const anonymous = await server.post('/v1/rank', { user: 'u1', items });
    expect(anonymous.status).toBe(200);
    const long = ['a', 'b', 'c'].map((letter) => letter.repeat(200));
    const statuses = [];
    for (const name of long) statuses.push((await rank(name)).status);
    expect(statuses).toEqual([200, 200, 429]);
  });

  test('is not told of health checks and pages', async () => {
    for (let sent = 0; sent < 6; sent++) {
      expect((await server.get('/livez', { 'x-client-id': 'probe' })).status).toBe(200);
      expect((await server.get('/metrics', { 'x-client-id': 'probe' })).status).toBe(200);
    }
  });

  test('refuses a client that has too many open at once, until one of them is answered', async () => {
    const pid = await server.pidOf('full');
    process.kill(pid, 'SIGSTOP');
    const open = [rank('eager'), rank('eager')];
    try {
      const third = await rank('eager');
      expect([third.status, third.error().code]).toEqual([429, 'RATE_LIMITED']);
      expect(third.headers['retry-after']).toBe('1');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect((await Promise.all(open)).map(({ status }) => status)).toEqual([200, 200]);
    expect((await rank('eager')).status).toBe(200);
  });
});
