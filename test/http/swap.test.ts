import { cp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, writeManifest, type BundleManifest } from '../../src/core/index.js';
import type { Answer } from '../../src/serving/index.js';
import { keepAdmissions } from '../support/admissions.js';
import { rejectionCode } from '../support/error-code.js';
import { childPids } from '../support/processes.js';
import { makeTinyBundle, type TinyBundleOptions } from '../support/tiny-bundle.js';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';
import { until } from '../support/until.js';

/** Two versions that score every request differently. */
const VERSIONS = [
  { lean: true, seed: 7 },
  { lean: true, seed: 8 },
] as const satisfies readonly TinyBundleOptions[];
const SWAPS = 3;
const CLIENTS = 2;
const PIPELINES = ['full', 'small'];
const HISTORIES = [['i1'], ['i2', 'i7'], ['i3', 'i4', 'i11'], ['i60', 'i5']];

let server: TinyServer;
let url: string;
let folder: string;
/** This process's children before any runner: those of the test tools. */
const others = childPids();

const runnerPids = (): number[] => childPids().filter((pid) => !others.includes(pid));

beforeAll(async () => {
  const experiment = { name: 'e', salt: 's', arms: [{ name: 'a', weight: 1, pipeline: 'small' }] };
  server = await startTinyServer({ experiments: [experiment] }, VERSIONS[0]);
  url = await server.server.listen();
  folder = dirname(server.config.bundle);
  await rename(server.config.bundle, join(folder, 'version-0'));
  await makeTinyBundle(join(folder, 'version-1'), VERSIONS[1]);
  await deploy('version-0');
});

afterAll(async () => {
  await keepAdmissions(server.config.store.path);
  await server.stop();
  expect(runnerPids()).toEqual([]);
});

/** Turns the link that the server's bundle is. */
async function deploy(version: string): Promise<void> {
  const link = join(folder, 'next');
  await symlink(version, link);
  await rename(link, server.config.bundle);
}

/** A copy of version 0 in which something is wrong, as the server's bundle. */
async function deployBad(harm: (directory: string) => Promise<unknown>): Promise<void> {
  const directory = join(folder, 'bad');
  await rm(directory, { recursive: true, force: true });
  await cp(join(folder, 'version-0'), directory, { recursive: true });
  await harm(directory);
  await deploy('bad');
}

interface Asked {
  readonly pipeline: string;
  readonly history: readonly string[];
}

const REQUESTS: readonly Asked[] = PIPELINES.flatMap((pipeline) =>
  HISTORIES.map((history) => ({ pipeline, history })),
);

/** One request over a socket. */
async function ask({ pipeline, history }: Asked): Promise<Answer> {
  const response = await fetch(`${url}/v1/recommend`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-whittle-pipeline': pipeline },
    body: JSON.stringify({ history, k: 5 }),
  });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text) as Answer;
}

/** What tells versions apart; float32 sums depend a little on what else is in the batch. */
const contentOf = ({ variant, items }: Answer): unknown => ({
  variant,
  items: items.map(({ id, title, score }) => [id, title, score.toFixed(3)]),
});

/** What the version that serves now answers to every request, by its name. */
async function learn(known: Map<string, unknown[]>): Promise<void> {
  const answers: Answer[] = [];
  for (const request of REQUESTS) answers.push(await ask(request));
  const [version] = new Set(answers.map(({ bundleVersion }) => bundleVersion));
  known.set(must(version, 'version'), answers.map(contentOf));
}

describe('reload', () => {
  test('swaps under load lose no request, and no answer mixes versions', async () => {
    const known = new Map<string, unknown[]>();
    await learn(known);
    await deploy('version-1');
    const first = await server.engine.reload();
    expect(first).toMatchObject({ outcome: 'swapped', started: ['full', 'small', 'tower'], kept: [] });
    await learn(known);
    expect([...known.keys()]).toEqual([first.previousVersion, first.bundleVersion]);
    expect(known.get(first.previousVersion)).not.toEqual(known.get(first.bundleVersion));

    const seen = new Map<string, number>();
    let loading = true;
    const client = async (offset: number): Promise<void> => {
      for (let turn = offset; loading; turn++) {
        const place = turn % REQUESTS.length;
        const answer = await ask(must(REQUESTS[place], 'request'));
        expect(contentOf(answer)).toEqual(known.get(answer.bundleVersion)?.[place]);
        seen.set(answer.bundleVersion, (seen.get(answer.bundleVersion) ?? 0) + 1);
      }
    };
    const load = Promise.all(Array.from({ length: CLIENTS }, (_, offset) => client(offset)));
    for (let swap = 0; swap < SWAPS; swap++) {
      await deploy(`version-${String(swap % 2)}`);
      const report = await server.engine.reload();
      expect(report.outcome).toBe('swapped');
      expect(runnerPids(), 'the old runners are gone when the reload is done').toHaveLength(3);
      const before = seen.get(report.bundleVersion) ?? 0;
      await until('the new version answers', () => (seen.get(report.bundleVersion) ?? 0) > before + CLIENTS);
    }
    loading = false;
    await load;
    expect(seen.size).toBe(2);
  });

  test('a variant that changed in place is the only one whose runner is replaced', async () => {
    const directory = join(folder, 'version-0');
    const before = await server.engine.runners();
    const { files: _files, ...manifest } = await manifestOf(directory);
    // Another model under the name of `small`: the full one.
    await cp(join(directory, 'full.onnx'), join(directory, 'small.new'));
    await rename(join(directory, 'small.new'), join(directory, 'small.onnx'));
    await writeManifest(directory, manifest);
    const report = await server.engine.reload();
    expect(report).toMatchObject({ outcome: 'swapped', started: ['small'], kept: ['full', 'tower'] });
    const after = await server.engine.runners();
    const pidsOf = (names: readonly string[], runners: typeof after): (number | undefined)[] =>
      runners.filter(({ name }) => names.includes(name)).map(({ pid }) => pid);
    expect(pidsOf(['full', 'tower'], after)).toEqual(pidsOf(['full', 'tower'], before));
    expect(pidsOf(['small'], after)).not.toEqual(pidsOf(['small'], before));
    const [full, small] = [
      await ask({ pipeline: 'full', history: ['i1'] }),
      await ask({ pipeline: 'small', history: ['i1'] }),
    ];
    expect(small.items).toEqual(full.items);
    expect(small.bundleVersion).toBe(report.bundleVersion);
  });

  test('nothing is done where nothing changed, and calls during a reload share the one after it', async () => {
    const pids = runnerPids();
    const [first, second, third] = [server.engine.reload(), server.engine.reload(), server.engine.reload()];
    expect(second).toBe(first);
    expect(third).toBe(first);
    expect(await first).toMatchObject({
      outcome: 'unchanged',
      started: [],
      kept: ['full', 'small', 'tower'],
    });
    await deploy('version-1');
    const swapping = server.engine.reload();
    await until('it runs', () => server.engine.status().reloading);
    await new Promise((resolve) => setImmediate(resolve));
    const after = server.engine.reload();
    expect(after).not.toBe(swapping);
    expect(server.engine.reload()).toBe(after);
    expect((await swapping).outcome).toBe('swapped');
    expect((await after).outcome).toBe('unchanged');
    expect(server.engine.status()).toMatchObject({
      reloading: false,
      bundleVersion: (await swapping).bundleVersion,
      lastReload: { report: { outcome: 'unchanged' } },
    });
    expect(runnerPids().filter((pid) => pids.includes(pid))).toEqual([]);
  });
});

describe('a bad new version leaves the old one serving and says why', () => {
  const replace = async (directory: string, name: string, content: string | Buffer): Promise<void> => {
    await writeFile(join(directory, name), content);
  };
  const withManifest = async (
    directory: string,
    change: (manifest: BundleManifest) => object,
  ): Promise<unknown> => {
    const { files: _files, ...manifest } = await manifestOf(directory);
    return writeManifest(directory, { ...manifest, ...change({ ...manifest, files: {} }) });
  };

  test.each<[what: string, code: string, words: RegExp, harm: (directory: string) => Promise<unknown>]>([
    ['another hash', 'HASH_MISMATCH', /small\.onnx/, (d) => replace(d, 'small.onnx', 'other')],
    ['no manifest', 'FILE_MISSING', /bundle\.json/, (d) => rm(join(d, 'bundle.json'))],
    ['a broken manifest', 'FILE_CORRUPT', /bundle\.json/, (d) => replace(d, 'bundle.json', '{"format":')],
    [
      'a file that is no model',
      'MODEL_INVALID',
      /small\.onnx/,
      async (d) => {
        await replace(d, 'small.onnx', 'no model');
        await withManifest(d, () => ({}));
      },
    ],
    [
      'a model that does not fit the contract',
      'RUNNER_START_FAILED',
      /request_index/,
      (d) => makeTinyBundle(d, { ...VERSIONS[0], brokenVariant: true }),
    ],
    [
      'a variant that ranks upside down',
      'MODEL_INVALID',
      /small hardly ranks like the full model/,
      (d) => makeTinyBundle(d, { ...VERSIONS[0], invertedVariant: true }),
    ],
    [
      'a pipeline that an arm needs and that is gone',
      'NOT_FOUND',
      /no pipeline small/,
      (d) => withManifest(d, ({ pipelines }) => ({ pipelines: { full: must(pipelines['full'], 'full') } })),
    ],
  ])('%s', async (_, code, words, harm) => {
    const version = server.engine.status().bundleVersion;
    const pids = runnerPids();
    await deployBad(harm);
    expect(await rejectionCode(server.engine.reload())).toBe(code);
    const { bundleVersion, lastReload, reloading } = server.engine.status();
    expect({ bundleVersion, reloading }).toEqual({ bundleVersion: version, reloading: false });
    expect(lastReload?.error).toMatchObject({ code, message: expect.stringMatching(words) as string });
    expect(server.engine.notReadyReason()).toBeUndefined();
    expect((await ask({ pipeline: 'small', history: ['i1'] })).bundleVersion).toBe(version);
    expect(runnerPids(), 'runners of the old version, and no other').toEqual(pids);
  });

  test('a good version after it is taken', async () => {
    await deploy('version-0');
    expect((await server.engine.reload()).outcome).toBe('swapped');
    expect(server.engine.status().lastReload?.error).toBeUndefined();
  });
});

test('a runner that is replaced does not open files that nobody verified', async () => {
  const directory = join(folder, 'version-0');
  const kept = await readFile(join(directory, 'small.onnx'));
  await cp(join(folder, 'version-1', 'small.onnx'), join(directory, 'small.new'));
  await rename(join(directory, 'small.new'), join(directory, 'small.onnx'));
  process.kill(await server.pidOf('small'), 'SIGKILL');
  await until('it is out of service', async () => {
    const runners = await server.engine.runners();
    return runners.find(({ name }) => name === 'small')?.state === 'failed';
  });
  expect(server.engine.notReadyReason()).toMatch(/small.*changed/);
  await writeFile(join(directory, 'small.new'), kept);
  await rename(join(directory, 'small.new'), join(directory, 'small.onnx'));
  expect(await server.engine.reload()).toMatchObject({ outcome: 'swapped', started: ['small'] });
  expect(server.engine.notReadyReason()).toBeUndefined();
});

test('an engine that is closed during a reload leaves nothing running', async () => {
  const other = await startTinyServer({}, VERSIONS[0]);
  const pids = runnerPids();
  await makeTinyBundle(other.config.bundle, VERSIONS[1]);
  const reloading = rejectionCode(other.engine.reload());
  await until('new runners start', () => runnerPids().length > pids.length);
  await other.stop();
  expect(await reloading).toBeDefined();
  expect(runnerPids()).toHaveLength(3);
});

async function manifestOf(directory: string): Promise<BundleManifest> {
  return JSON.parse(await readFile(join(directory, 'bundle.json'), 'utf8')) as BundleManifest;
}
