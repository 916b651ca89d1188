import { expect, test } from 'vitest';
import { loadedConfig } from '../../loadtest/server-config.js';
import { completeConfig } from '../../src/core/index.js';

const server = {
  bundle: 'models/x',
  arms: ['full', 'int8'],
  clientHeader: 'x-client-id',
  shadowShare: 0.02,
  directory: '/tmp/d',
};

test('has no cache, a store of its own, a free local port, and equal arms; the rest is the given one', () => {
  const base = completeConfig({
    server: { host: '0.0.0.0', port: 9_000, deadlineMs: 77 },
    runners: { threads: 2 },
    cache: { ttlMs: 5 },
  });
  const config = loadedConfig(base, server);
  expect(config).toMatchObject({
    bundle: 'models/x',
    server: { host: '127.0.0.1', port: 0, deadlineMs: 77 },
    runners: { threads: 2 },
    store: { path: '/tmp/d/store' },
    cache: { maxEntries: 0, ttlMs: 5 },
    shadow: { share: 0.02 },
  });
  expect(config.experiments).toEqual([
    {
      name: 'loadtest',
      salt: 'loadtest',
      enabled: true,
      arms: [
        { name: 'full', weight: 1, pipeline: 'full' },
        { name: 'int8', weight: 1, pipeline: 'int8' },
      ],
    },
  ]);
  // What is written is read again by the server.
  expect(completeConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
});

test('keeps an experiment that runs, not one that is off', () => {
  const arms = [{ name: 'a', weight: 1, pipeline: 'int8' }];
  const withExperiment = (enabled: boolean): string[] =>
    loadedConfig(
      completeConfig({ experiments: [{ name: 'mine', salt: 's', enabled, arms }] }),
      server,
    ).experiments.map(({ name }) => name);
  expect(withExperiment(true)).toEqual(['mine']);
  expect(withExperiment(false)).toEqual(['loadtest']);
});
