import { appendFile, copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createLog, silentLog, WhittleError, type ServerConfig } from '../../src/core/index.js';
import { createServer } from '../../src/http/index.js';
import { openEngine } from '../../src/serving/index.js';
import { childPids } from '../support/processes.js';
import type { TinyBundleOptions } from '../support/tiny-bundle.js';
import { startTinyServer, tinyConfig } from '../support/tiny-server.js';

const folders: string[] = [];
/** This process's children before any runner: those of the test tools. */
const others = childPids();

afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

async function bundle(options: TinyBundleOptions = {}): Promise<{ config: ServerConfig; path: string }> {
  const { config, directory } = await tinyConfig({}, { lean: true, ...options });
  folders.push(directory);
  return { config, path: config.bundle };
}

/** The error that keeps the engine from opening, after which no process may be left. */
async function startError(config: ServerConfig): Promise<WhittleError> {
  const thrown: unknown = await openEngine({ config, log: silentLog }).then(
    (engine) => engine.close(),
    (error: unknown) => error,
  );
  expect(childPids().filter((pid) => !others.includes(pid))).toEqual([]);
  if (thrown instanceof WhittleError) return thrown;
  throw new Error('The engine opened', { cause: thrown });
}

test('a changed file is named with the hash that was expected', async () => {
  const { config, path } = await bundle();
  await appendFile(join(path, 'small.onnx'), 'x');
  const error = await startError(config);
  expect(error).toMatchObject({ code: 'HASH_MISMATCH', details: { file: 'small.onnx' } });
  expect(error.message).toMatch(/small\.onnx.*expected \d+ bytes with SHA-256 [0-9a-f]{64}, found \d+ bytes/);
});

test('a file of the same size with other content is named', async () => {
  const { config, path } = await bundle();
  await copyFile(join(path, 'full.onnx'), join(path, 'small.onnx'));
  expect(await startError(config)).toMatchObject({ code: 'HASH_MISMATCH', details: { file: 'small.onnx' } });
});

test('a missing file is named', async () => {
  const { config, path } = await bundle();
  await rm(join(path, 'indexes/items.f32'));
  expect(await startError(config)).toMatchObject({
    code: 'FILE_MISSING',
    message: expect.stringContaining('indexes/items.f32') as string,
  });
});

test('no bundle at all is one line that names the path', async () => {
  const { config, path } = await bundle();
  const error = await startError({ ...config, bundle: join(path, 'elsewhere') });
  expect(error.code).toBe('FILE_MISSING');
  expect(error.message).toContain('elsewhere/bundle.json');
  expect(error.message).not.toContain('\n');
});

test('a model whose inputs the contract does not bind is named with what was expected', async () => {
  const { config } = await bundle({ brokenVariant: true });
  const error = await startError(config);
  expect(error.message).toContain('small.onnx');
  expect(error.message).toContain('request_index');
});

test('models that an earlier start tried out are tried out again only where that is asked for', async () => {
  const { config } = await bundle();
  const tried: string[] = [];
  const log = createLog({}, (line) => {
    const { event, runner } = JSON.parse(line) as { event: string; runner: string };
    if (event === 'model_admitted') tried.push(runner);
  });
  const start = async (verify: boolean): Promise<string[]> => {
    const engine = await openEngine({ config: { ...config, verify }, log });
    await engine.close();
    return tried.splice(0).sort();
  };
  expect(await start(true)).toEqual(['full', 'small', 'tower']);
  expect(await start(false)).toEqual([]);
});

test('an arm of a pipeline that is not there leaves nothing running', async () => {
  const { config } = await bundle();
  const arms = [{ name: 'a', weight: 1, pipeline: 'tiny' }];
  const experiments = [{ name: 'e', salt: 's', enabled: true, arms }];
  const error = await startError({ ...config, experiments });
  expect(error).toMatchObject({ code: 'NOT_FOUND', details: { value: 'tiny' } });
});

test('a bundle with a graph index serves the same way', async () => {
  const hnsw = await startTinyServer({}, { index: 'hnsw', lean: true });
  const reply = await hnsw.post('/v1/recommend', { user: 'u1' });
  expect(reply.status, reply.text).toBe(200);
  await hnsw.stop();
  expect(childPids().filter((pid) => !others.includes(pid))).toEqual([]);
});

test('a port in use, or a host that is not this machine, is one clear line', async () => {
  const first = await startTinyServer({}, { lean: true });
  const url = new URL(await first.server.listen());
  const port = Number(url.port);
  const listenError = async (changes: Partial<ServerConfig['server']>): Promise<unknown> => {
    const config = { ...first.config.server, ...changes };
    const second = await createServer(first.engine, { config, log: silentLog, version: '0.0.0' });
    const thrown: unknown = await second.listen().catch((error: unknown) => error);
    await second.close();
    return thrown;
  };
  expect(await listenError({ port })).toMatchObject({
    code: 'PORT_IN_USE',
    details: { host: '127.0.0.1', port },
    message: expect.stringMatching(/^Port \d+ on 127\.0\.0\.1 is in use: [^\n]+$/) as string,
  });
  expect(await listenError({ host: '192.0.2.1' })).toMatchObject({
    code: 'CONFIG_INVALID',
    details: { host: '192.0.2.1' },
  });
  await first.stop();
});
