import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  completeConfig,
  createLog,
  float32,
  int64,
  silentLog,
  VerificationRecord,
  WhittleError,
  writeManifest,
} from '../../src/core/index.js';
import { GraphBuilder, writeModel } from '../../src/onnx/index.js';
import { admitModels } from '../../src/serving/admit-models.js';
import { openBundle, type OpenBundle } from '../../src/serving/bundle.js';
import { childPids } from '../support/processes.js';
import { makeTinyBundle } from '../support/tiny-bundle.js';

const MEBIBYTE = 2 ** 20;
const others = childPids();
const openMemoryBytes = 256 * MEBIBYTE;
let folder: string;
let bundles = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-admit-'));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  expect(childPids().filter((pid) => !others.includes(pid))).toEqual([]);
});

/** A tiny bundle whose variant `small` scores each candidate by 0 times its id, plus what `extra` adds. */
async function bundleWith(extra: (builder: GraphBuilder, candidate: string) => string): Promise<OpenBundle> {
  const directory = join(folder, `bundle-${bundles++}`);
  const { files: _, ...manifest } = await makeTinyBundle(directory, { lean: true });
  const builder = new GraphBuilder({ name: 'ranker' });
  builder.input('history', 'int64', ['requests', 8]);
  const candidate = builder.input('candidate', 'int64', ['candidates']);
  builder.input('request_index', 'int64', ['candidates']);
  const { op } = builder;
  const zero = builder.initializer('zero', float32(Float32Array.of(0), []));
  const base = op.Mul(op.Cast(candidate, { to: 1 }), zero);
  builder.node('Add', [base, extra(builder, candidate)], {}, ['score']);
  builder.output('score', 'float32', ['candidates']);
  await writeModel(builder.build(), join(directory, 'small.onnx'));
  await writeManifest(directory, manifest);
  return openBundle(directory);
}

interface Admission {
  /** Variants and retrievers that were tried out, in order. */
  readonly tried: string[];
  readonly refused: WhittleError | undefined;
}

async function admission(
  bundle: OpenBundle,
  limits: Readonly<Record<string, number>> = {},
  record = VerificationRecord.none(),
): Promise<Admission> {
  const tried: string[] = [];
  const log = createLog({}, (line) => {
    const { event, runner } = JSON.parse(line) as { event: string; runner: string };
    if (event === 'model_admitted') tried.push(runner);
  });
  const { runners } = completeConfig({ runners: { openMemoryBytes, ...limits } });
  try {
    await admitModels(bundle, { runners, log, record, variants: ['small'] });
    return { tried: tried.sort(), refused: undefined };
  } catch (thrown) {
    if (thrown instanceof WhittleError) return { tried, refused: thrown };
    throw thrown;
  }
}

/** The sum of `side` × `side` zeros, by a shape that is `constant` (made when the model is opened) or comes with a run. */
function zeros(builder: GraphBuilder, side: number, factor?: string): string {
  const { op } = builder;
  const constant = builder.initializer('shape', int64([side, side]));
  const shape = factor === undefined ? constant : op.Mul(constant, factor);
  return op.ReduceSum(op.ConstantOfShape(shape), { keepdims: 0 });
}

test('good models are admitted once, by content and limits', async () => {
  const bundle = await bundleWith((builder) => builder.initializer('one', float32(Float32Array.of(1), [])));
  const record = await VerificationRecord.open(join(folder, 'store'), { log: silentLog });
  expect(await admission(bundle, {}, record)).toEqual({ tried: ['small', 'tower'], refused: undefined });
  await record.save();
  const later = await VerificationRecord.open(join(folder, 'store'), { log: silentLog });
  expect(await admission(bundle, {}, later)).toEqual({ tried: [], refused: undefined });
  // The same content elsewhere is known, too; other limits ask another question.
  const other = await bundleWith((builder) => builder.initializer('one', float32(Float32Array.of(1), [])));
  expect(await admission(other, {}, later)).toEqual({ tried: [], refused: undefined });
  const changed = await bundleWith((builder) => builder.initializer('one', float32(Float32Array.of(2), [])));
  expect((await admission(changed, {}, later)).tried).toEqual(['small']);
  expect((await admission(bundle, { openTimeoutMs: 20_000 }, later)).tried).toEqual(['small', 'tower']);
});

describe.skipIf(process.platform !== 'linux')('memory', () => {
  test.each([
    ['when it is opened', (builder: GraphBuilder) => zeros(builder, 28_000)],
    [
      'when it runs',
      (builder: GraphBuilder, candidate: string) => {
        const { op } = builder;
        const one = builder.initializer('one', int64([1]));
        return zeros(builder, 28_000, op.Min(op.Size(candidate), one));
      },
    ],
  ])('a model that takes 3 GB %s is refused, at no cost to this process', async (_, extra) => {
    const bundle = await bundleWith(extra);
    const before = process.memoryUsage().rss;
    const { refused } = await admission(bundle);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * MEBIBYTE);
    expect(refused).toMatchObject({
      code: 'RUNNER_START_FAILED',
      details: { file: join(bundle.directory, 'small.onnx'), limit: 'memory' },
    });
    expect(refused?.message).toMatch(/small\.onnx is not served.*\d+ bytes.*raise runners\.openMemoryBytes/);
  });
});

test('a model that does not come to an end is refused', async () => {
  const bundle = await bundleWith((builder) => {
    const { op } = builder;
    const long = builder.initializer('long', int64([2_000_000_000], []));
    const inner = new GraphBuilder({ name: 'body' });
    inner.input('iteration', 'int64', []);
    inner.input('going', 'bool', []);
    inner.input('sum', 'float32', []);
    inner.node('Identity', ['going'], {}, ['still_going']);
    inner.node('Cos', ['sum'], {}, ['next']);
    inner.output('still_going', 'bool', []);
    inner.output('next', 'float32', []);
    const body = inner.build().graph;
    const start = builder.initializer('start', float32(Float32Array.of(1), []));
    const [sum] = builder.node('Loop', [long, '', op.Identity(start)], { body }, ['sum']);
    return sum ?? '';
  });
  const { refused } = await admission(bundle, { openTimeoutMs: 6_000 });
  expect(refused).toMatchObject({ code: 'RUNNER_START_FAILED', details: { limit: 'time' } });
  expect(refused?.message).toMatch(/small\.onnx is not served.*6000 ms.*raise runners\.openTimeoutMs/);
});

test('scores that are not numbers are refused', async () => {
  const bundle = await bundleWith((builder) =>
    builder.op.Log(builder.initializer('m', float32(Float32Array.of(-1), []))),
  );
  expect((await admission(bundle)).refused).toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringMatching(/small\.onnx is not served: .*not finite/) as string,
  });
});

test('more scores than candidates are refused', async () => {
  const bundle = await bundleWith((builder) =>
    builder.initializer('w', float32(new Float32Array(1000), [1000, 1])),
  );
  expect((await admission(bundle)).refused).toMatchObject({
    code: 'CONTRACT_MISMATCH',
    details: { field: 'score', expected: '4 elements', found: '[1000, 4]' },
  });
});
