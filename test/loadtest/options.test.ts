import { CommanderError } from 'commander';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseOptions } from '../../loadtest/options.js';
import { errorCode } from '../support/error-code.js';

describe('parseOptions', () => {
  let printed = '';
  beforeEach(() => {
    printed = '';
    const keep = (text: string | Uint8Array): boolean => {
      printed += String(text);
      return true;
    };
    vi.spyOn(process.stderr, 'write').mockImplementation(keep);
    vi.spyOn(process.stdout, 'write').mockImplementation(keep);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('is an open loop by default', () => {
    expect(parseOptions([])).toEqual({
      mode: 'rate',
      bundle: 'models/demo',
      mix: [{ endpoint: 'recommend', share: 1 }],
      unforced: false,
      arrivals: 'poisson',
      p99Ms: 20,
      hotClient: 0.5,
      clientHeader: 'x-client-id',
      timeoutMs: 10_000,
      seconds: 10,
      rounds: 3,
      connections: 16,
      k: 10,
      users: 1_000,
      seed: 1,
      shadowShare: 0.02,
    });
  });

  test('reads every option of the open loop', () => {
    const args =
      '--bundle b --config c.yaml --mix search=2,rank=0.5 --pipelines full,int8 --seconds 600 --rounds 1 --rate 12.5 ' +
      '--arrivals constant --p99 7.5 --timeout 500 --k 200 --users 3 --seed 0 --shadow-share 1 --queries q.txt --out o';
    expect(parseOptions(args.split(' '))).toMatchObject({
      mode: 'rate',
      bundle: 'b',
      config: 'c.yaml',
      mix: [
        { endpoint: 'search', share: 2 },
        { endpoint: 'rank', share: 0.5 },
      ],
      pipelines: ['full', 'int8'],
      seconds: 600,
      rounds: 1,
      rate: 12.5,
      arrivals: 'constant',
      p99Ms: 7.5,
      timeoutMs: 500,
      k: 200,
      users: 3,
      seed: 0,
      shadowShare: 1,
      queries: 'q.txt',
      out: 'o',
    });
  });

  test.each([
    ['--find-rate --p99 5', { mode: 'find-rate', p99Ms: 5 }],
    ['--overload 3 --unforced', { mode: 'overload', overload: 3, unforced: true }],
    [
      '--clients 8 --hot-client 0.6 --client-header X-Tenant',
      { mode: 'clients', clients: 8, hotClient: 0.6, clientHeader: 'x-tenant' },
    ],
    [
      '--closed-loop --connections 256 --endpoint search',
      { mode: 'closed-loop', connections: 256, mix: [{ endpoint: 'search', share: 1 }] },
    ],
    ['--ramp 10,50.5', { mode: 'rate', ramp: [10, 50.5] }],
    ['--steps 10,50,20', { mode: 'rate', steps: [10, 50, 20] }],
  ])('%s', (args, expected) => {
    expect(parseOptions(args.split(' '))).toMatchObject(expected);
  });

  test('keeps the origin of a server of this machine', () => {
    expect(parseOptions(['--url', 'http://localhost:80/']).url).toBe('http://localhost');
  });

  test.each([
    ['--seconds 0', '--seconds'],
    ['--seconds 601', '--seconds'],
    ['--seconds 1.5', '--seconds'],
    ['--rounds -1', '--rounds'],
    ['--connections 257', '--connections'],
    ['--k 1e2', '--k'],
    ['--users many', '--users'],
    ['--seed 4294967296', '--seed'],
    ['--shadow-share 1.1', '--shadow-share'],
    ['--shadow-share NaN', '--shadow-share'],
    ['--rate 0', '--rate'],
    ['--rate 1000000', '--rate'],
    ['--ramp 10', '--ramp'],
    ['--ramp 10,20,30', '--ramp'],
    ['--steps 10,,20', '--steps'],
    ['--steps 10 --rate 5', '--rate'],
    ['--overload 1', '--overload'],
    ['--overload 3 --find-rate', '--find-rate'],
    ['--closed-loop --clients 3', '--clients'],
    ['--clients 0', '--clients'],
    ['--arrivals bursts', '--arrivals'],
    ['--mix recommend', '--mix'],
    ['--mix recommend=0', '--mix'],
    ['--mix recommend=1,recommend=2', '--mix'],
    ['--mix events=1', '--mix'],
    ['--mix rank=1 --endpoint rank', '--mix'],
    ['--client-header a:b', '--client-header'],
    ['--unforced --pipelines full', '--pipelines'],
    ['--pipelines full,', '--pipelines'],
    ['--pipelines full,full', '--pipelines'],
    ['--endpoint users', '--endpoint'],
    ['--url http://localhost:1 --bundle b', '--bundle'],
    ['--url http://localhost:1 --shadow-share 0', '--shadow-share'],
    ['--what', '--what'],
    ['extra', 'arguments'],
  ])('refuses %s', (args, named) => {
    let thrown: unknown;
    try {
      parseOptions(args.split(' '));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(CommanderError);
    expect((thrown as CommanderError).exitCode).not.toBe(0);
    expect(printed).toContain(named);
    expect(printed).toContain('--help');
  });

  test.each([
    ['--connections 3', '--connections'],
    ['--closed-loop --rate 3', '--rate'],
    ['--closed-loop --mix recommend=1', '--mix'],
    ['--closed-loop --endpoint rank', '--endpoint'],
    ['--closed-loop --p99 3', '--p99'],
    ['--find-rate --steps 1,2', '--steps'],
    ['--hot-client 0.2', '--hot-client'],
    ['--overload 3 --pipelines full,int8', '--pipelines'],
    ['--clients 3 --pipelines full,int8', '--pipelines'],
  ])('refuses %s, which the mode would pass over', (args, named) => {
    const parse = (): unknown => parseOptions(args.split(' '));
    expect(errorCode(parse)).toBe('USAGE_INVALID');
    expect(parse).toThrow(named);
  });

  test('help has examples and says what each loop tells', () => {
    expect(() => parseOptions(['--help'])).toThrow(expect.objectContaining({ exitCode: 0 }) as Error);
    expect(printed).toContain('$ npm run loadtest -- --bundle models/demo');
    expect(printed).toContain('latency counts from the schedule');
    expect(printed).toContain('at saturation and not');
  });

  test.each([
    'http://example.com',
    'http://127.0.0.1.example.com:8080',
    'http://localhost.example.com',
    'http://127.0.0.2:8080',
    'http://10.0.0.1:8080',
    'http://0.0.0.0:8080',
    'http://[::1]:8080',
    'https://127.0.0.1:8080',
    'http://localhost@example.com',
    'http://user@localhost:8080',
    'http://localhost:8080/v1',
    'http://localhost:8080?a=b',
    'localhost:8080',
    '',
  ])('refuses the target %s', (url) => {
    expect(errorCode(() => parseOptions(['--url', url]))).toBe('USAGE_INVALID');
  });
});
