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

  test('has short defaults', () => {
    expect(parseOptions([])).toEqual({
      bundle: 'models/demo',
      endpoint: 'recommend',
      seconds: 5,
      rounds: 3,
      connections: 16,
      k: 10,
      users: 1_000,
      seed: 1,
      shadowShare: 0.02,
    });
  });

  test('reads every option', () => {
    const args =
      '--bundle b --config c.yaml --endpoint search --pipelines full,int8 --seconds 60 --rounds 1 --connections 256 ' +
      '--k 200 --users 3 --seed 0 --shadow-share 1 --queries q.txt --out o';
    expect(parseOptions(args.split(' '))).toEqual({
      bundle: 'b',
      config: 'c.yaml',
      endpoint: 'search',
      pipelines: ['full', 'int8'],
      seconds: 60,
      rounds: 1,
      connections: 256,
      k: 200,
      users: 3,
      seed: 0,
      shadowShare: 1,
      queries: 'q.txt',
      out: 'o',
    });
  });

  test('keeps the origin of a server of this machine', () => {
    expect(parseOptions(['--url', 'http://localhost:80/']).url).toBe('http://localhost');
  });

  test.each([
    ['--seconds 0', '--seconds'],
    ['--seconds 61', '--seconds'],
    ['--seconds 1.5', '--seconds'],
    ['--rounds -1', '--rounds'],
    ['--connections 257', '--connections'],
    ['--k 1e2', '--k'],
    ['--users many', '--users'],
    ['--seed 4294967296', '--seed'],
    ['--shadow-share 1.1', '--shadow-share'],
    ['--shadow-share NaN', '--shadow-share'],
    ['--pipelines full,', '--pipelines'],
    ['--pipelines full,full', '--pipelines'],
    ['--endpoint rank', '--endpoint'],
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

  test('help has examples and says what the loop is', () => {
    expect(() => parseOptions(['--help'])).toThrow(expect.objectContaining({ exitCode: 0 }) as Error);
    expect(printed).toContain('$ npm run loadtest -- --bundle models/demo');
    expect(printed).toContain('at saturation and not at a rate');
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
