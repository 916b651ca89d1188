import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { float32, int64, silentLog } from '../../src/core/index.js';
import { encodeModel, GraphBuilder, type Model } from '../../src/onnx/index.js';
import { probeRunner, type ProbeOptions } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import { childPids } from '../support/processes.js';
import type { TestRunnerSpec } from '../support/test-runner.js';

const MEBIBYTE = 2 ** 20;
const LIMIT_BYTES = 200 * MEBIBYTE;
const onLinux = process.platform === 'linux';
/** This process's children before any runner: those of the test tools. */
const others = childPids();
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-probe-'));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  expect(childPids().filter((pid) => !others.includes(pid))).toEqual([]);
});

function probe(spec: TestRunnerSpec, changes: Partial<ProbeOptions> = {}) {
  return probeRunner({
    name: 'candidate',
    entry: fileURLToPath(new URL('../support/test-runner.ts', import.meta.url)),
    execArgv: ['--import', 'tsx'],
    spec,
    memoryBytes: LIMIT_BYTES,
    timeoutMs: 30_000,
    log: silentLog,
    ...changes,
  });
}

async function saved(name: string, model: Model): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, encodeModel(model));
  return path;
}

/** y = x + the sum of `side` × `side` zeros, whose shape is a constant: ONNX Runtime makes them when it opens the model. */
function foldingBomb(side: number): Model {
  const builder = new GraphBuilder();
  const { op } = builder;
  const x = builder.input('x', 'float32', ['rows']);
  const shape = builder.initializer('shape', int64(BigInt64Array.of(BigInt(side), BigInt(side)), [2]));
  builder.node('Add', [x, op.ReduceSum(op.ConstantOfShape(shape), { keepdims: 0 })], {}, ['y']);
  builder.output('y', 'float32', ['rows']);
  return builder.build();
}

/** The sum of zeros of the shape that the request asks for. */
function requestBomb(): Model {
  const builder = new GraphBuilder();
  const shape = builder.input('shape', 'int64', [2]);
  builder.node('ReduceSum', [builder.op.ConstantOfShape(shape)], { keepdims: 0 }, ['y']);
  builder.output('y', 'float32', []);
  return builder.build();
}

const request = (side: bigint) => ({
  meta: {},
  tensors: { shape: int64(BigInt64Array.of(side, side), [2]) },
});

it('opens a runner, runs every request and says what it took', async () => {
  const model = await saved('fine.onnx', requestBomb());
  const report = await probe({ model }, { requests: [request(2n), request(1_000n)] });
  expect(report.responses.map(({ tensors }) => tensors['y'])).toEqual([
    float32(Float32Array.of(0), []),
    float32(Float32Array.of(0), []),
  ]);
  expect(report.info['inputs']).toEqual([{ name: 'shape', dtype: 'int64', dims: [2] }]);
  expect(report.elapsedMs).toBeGreaterThan(0);
  if (onLinux) expect(report.peakBytes).toBeGreaterThan(MEBIBYTE);
});

it.runIf(onLinux)('stops a model that takes more memory than allowed when it opens', async () => {
  // 256 MB: above what is allowed, below what the kernel refuses, so that the watch has to see it.
  const error: unknown = await probe({ model: await saved('bomb.onnx', foldingBomb(8_000)) }).catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({
    code: 'RUNNER_START_FAILED',
    message: `Runner candidate was tried out and stopped: it takes more than the ${LIMIT_BYTES} bytes of memory it is allowed`,
    details: { limit: 'memory', memoryBytes: LIMIT_BYTES },
  });
});

it.runIf(onLinux)(
  'keeps the kernel from giving a model 3 GB at once, in its opening or in a run',
  async () => {
    const ownBytes = process.memoryUsage.rss();
    const folding = await saved('big-bomb.onnx', foldingBomb(28_000));
    const x = { meta: {}, tensors: { x: float32(Float32Array.of(1), [1]) } };
    const bombs = [
      probe({ model: folding }, { requests: [x] }),
      probe({ model: await saved('run-bomb.onnx', requestBomb()) }, { requests: [request(28_000n)] }),
    ];
    for (const outcome of await Promise.allSettled(bombs))
      expect(outcome).toMatchObject({
        reason: { code: 'RUNNER_START_FAILED', details: { limit: 'memory' } },
      });
    expect(process.memoryUsage.rss() - ownBytes).toBeLessThan(100 * MEBIBYTE);
  },
);

it('stops what takes longer than allowed, in its opening or in a run', async () => {
  const requests = [{ meta: { command: 'spin' }, tensors: {} }];
  const outcomes = await Promise.allSettled([
    probe({ start: 'never' }, { timeoutMs: 2_000 }),
    probe({}, { timeoutMs: 4_000, requests }),
  ]);
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({ reason: { code: 'RUNNER_START_FAILED', details: { limit: 'time' } } });
});

it('hands on what the runner itself throws', async () => {
  expect(await rejectionCode(probe({ start: 'throw' }))).toBe('RUNNER_START_FAILED');
  const requests = [{ meta: { command: 'throw' }, tensors: {} }];
  expect(await rejectionCode(probe({}, { requests }))).toBe('INPUT_INVALID');
});
