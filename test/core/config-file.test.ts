import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { completeConfig, readConfig } from '../../src/core/index.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-config-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const experiment = {
  name: 'int8-trial',
  salt: 's1',
  arms: [
    { name: 'control', weight: 1, pipeline: 'full' },
    { name: 'treatment', weight: 0, pipeline: 'int8' },
  ],
};

describe('completeConfig', () => {
  test('fills every default in, section by section', () => {
    const config = completeConfig({ server: { port: 9000 } });
    expect(config.server).toEqual({
      host: '127.0.0.1',
      port: 9000,
      bodyLimitBytes: 1_048_576,
      deadlineMs: 1_000,
      maxConnections: 20_000,
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 30_000,
      keepAliveTimeoutMs: 72_000,
      clients: { requestsPerSecond: 0, burst: 10, maxConcurrent: 0 },
    });
    expect(config).toMatchObject({ bundle: 'models/demo', shadow: { share: 0.05 }, experiments: [] });
    expect(completeConfig(undefined)).toEqual(completeConfig({}));
    expect(completeConfig(completeConfig({}))).toEqual(completeConfig({}));
  });

  test('a runner counts as hung after twice the deadline, or what is set', () => {
    expect(completeConfig({}).runners.hangTimeoutMs).toBe(2_000);
    expect(completeConfig({ server: { deadlineMs: 300 } }).runners.hangTimeoutMs).toBe(600);
    expect(completeConfig({ runners: { hangTimeoutMs: 50 } }).runners.hangTimeoutMs).toBe(50);
  });

  test('does not change what it is given, nor share it', () => {
    const given = { experiments: [experiment] };
    const before = structuredClone(given);
    expect(completeConfig(given).experiments[0]?.enabled).toBe(true);
    expect(given).toEqual(before);
  });

  test.each([
    [{ server: { port: 65_536 } }, 'server.port', 65_536],
    [{ server: { prot: 1 } }, 'server.prot', undefined],
    [{ runners: { queueLimit: '5' } }, 'runners.queueLimit', '5'],
    [{ shadow: { share: 1.5 } }, 'shadow.share', 1.5],
    [{ experiments: [{ ...experiment, arms: [] }] }, 'experiments.0.arms', []],
    [{ experiments: [{ name: 'a', arms: experiment.arms }] }, 'experiments.0.salt', undefined],
    [[], 'configuration', []],
  ])('%j is refused and %s is named', (given, field, value) => {
    expect(() => completeConfig(given)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        details: { field, value, allowed: expect.any(String) as string },
      }),
    );
  });

  test('an experiment needs arms of different names, one of them with weight', () => {
    const [control, treatment] = experiment.arms;
    for (const arms of [[control, control], [treatment]])
      expect(() => completeConfig({ experiments: [{ ...experiment, arms }] })).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID', details: { field: 'experiments.int8-trial' } }),
      );
  });
});

test('degradation needs shadows', () => {
  const overload = { degradation: { enabled: true } };
  expect(completeConfig({ overload }).overload.degradation.minPairs).toBe(200);
  expect(() => completeConfig({ overload, shadow: { share: 0 } })).toThrow(
    expect.objectContaining({
      code: 'CONFIG_INVALID',
      details: { field: 'shadow.share', value: 0, allowed: expect.any(String) as string },
    }),
  );
});

describe('readConfig', () => {
  const write = async (text: string): Promise<string> => {
    const path = join(folder, 'whittle.yaml');
    await writeFile(path, text);
    return path;
  };

  test('reads YAML, JSON, and an empty file as all defaults', async () => {
    expect((await readConfig(await write('server:\n  port: 81 # comment\n'))).server.port).toBe(81);
    expect((await readConfig(await write('{"server": {"port": 82}}'))).server.port).toBe(82);
    expect(await readConfig(await write(''))).toEqual(completeConfig({}));
  });

  test('says what is wrong with a file', async () => {
    await expect(readConfig(await write('a: [1'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(readConfig(await write('just text'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const path = join(folder, 'none.yaml');
    await expect(readConfig(path)).rejects.toMatchObject({ code: 'FILE_MISSING', details: { path } });
  });
});
