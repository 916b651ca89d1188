#!/usr/bin/env node
/**
 * Memory and time of dynamic int8 on large models, one core.
 *
 *     npm run bench:large
 *
 * Memory: about 1 GB of weights, half of them a table and half dense, in a single file and with external data. A child
 * process reads, compresses and writes the model; the figure is the largest resident memory it ever had (VmHWM, mapped
 * files included) over the weights. Time: 100 MB of dense weights; the pass alone, and all of it with the comparison of
 * outputs and the writing.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compressModel, parseRecipe, quantizeDynamic } from '../src/compression/index.js';
import { createRandom, elementCount, float32, silentLog } from '../src/core/index.js';
import type { Random, Tensor } from '../src/core/index.js';
import { encodeModel, GraphBuilder, readModel, writeModel } from '../src/onnx/index.js';
import type { Model } from '../src/onnx/index.js';
import { openSession } from '../src/runtime/index.js';

/** Time of a step: by the clock, and of the processor, which other processes on the machine do not lengthen. */
interface Time {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** What a child process found out. */
interface Finding {
  readonly read: Time;
  readonly compress: Time;
  readonly write: Time;
  /** The pass alone, once more. */
  readonly pass: Time;
  readonly layers: number;
  /** Resident memory in bytes: before the model was read, after, and at most. */
  readonly startBytes: number;
  readonly readBytes: number;
  readonly peakBytes: number;
}

const RECIPE = parseRecipe([{ pass: 'quantize-dynamic' }]);
const BLOCK = 1_000_003;

/** Normal numbers; a block of them over and over, because drawing each one takes longer than the benchmark. */
function weights(random: Random, dims: readonly number[], scale: number): Tensor {
  const block = Float32Array.from({ length: BLOCK }, () => scale * random.normal());
  const data = new Float32Array(elementCount(dims));
  for (let start = 0; start < data.length; start += BLOCK)
    data.set(block.subarray(0, Math.min(BLOCK, data.length - start)), start);
  return float32(data, dims);
}

/** Rows of a table, if there is one, through dense layers of the given widths. */
function model(tableRows: number, widths: readonly number[]): Model {
  const random = createRandom(1);
  const builder = new GraphBuilder();
  const [width = 0] = widths;
  let value =
    tableRows === 0
      ? builder.input('x', 'float32', ['rows', width])
      : builder.op.Gather(
          builder.initializer('table', weights(random, [tableRows, width], 1)),
          builder.input('ids', 'int64', ['rows']),
        );
  widths.slice(1).forEach((outputs, layer) => {
    const inputs = widths[layer] ?? 0;
    const weight = builder.initializer(
      `w${layer}`,
      weights(random, [inputs, outputs], Math.sqrt(2 / inputs)),
    );
    value = builder.op.Relu(builder.op.MatMul(value, weight));
  });
  builder.node('Identity', [value], {}, ['y']);
  builder.output('y', 'float32', ['rows', widths.at(-1) ?? 0]);
  return builder.build();
}

async function timed<Result>(run: () => Promise<Result>): Promise<{ result: Result; time: Time }> {
  const started = performance.now();
  const startedCpu = process.cpuUsage();
  const result = await run();
  const { user, system } = process.cpuUsage(startedCpu);
  return { result, time: { wallMs: performance.now() - started, cpuMs: (user + system) / 1000 } };
}

async function residentBytes(field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
}

/** In a process of its own, so that its memory is that of the compression. */
async function compressFile(path: string, target: string): Promise<Finding> {
  const startBytes = await residentBytes('VmRSS');
  const context = { openSession, seed: 1, log: silentLog };
  const given = await timed(() => readModel(path));
  const readBytes = await residentBytes('VmHWM');
  const compressed = await timed(() => compressModel(given.result, RECIPE, context));
  const { model: smaller, report } = compressed.result;
  const written = await timed(() => writeModel(smaller, target));
  const peakBytes = await residentBytes('VmHWM');
  const pass = await timed(() => quantizeDynamic()(given.result, context));
  return {
    read: given.time,
    compress: compressed.time,
    write: written.time,
    pass: pass.time,
    layers: report.steps[0]?.changed.length ?? 0,
    startBytes,
    readBytes,
    peakBytes,
  };
}

async function inChild(path: string, target: string): Promise<Finding> {
  const [, script = ''] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, script, path, target], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`the child process ended with ${String(code)}`);
  return JSON.parse(text) as Finding;
}

function line(name: string, weightBytes: number, finding: Finding): string {
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);
  const seconds = (...times: readonly Time[]): string => {
    const sum = (of: keyof Time): string =>
      (times.reduce((total, time) => total + time[of], 0) / 1000).toFixed(2);
    return `${sum('wallMs')} (${sum('cpuMs')})`;
  };
  const { read, compress, write, pass, layers, startBytes, readBytes, peakBytes } = finding;
  const figures = [
    ...[name, megabytes(weightBytes), layers, megabytes(startBytes), megabytes(readBytes - startBytes)],
    ...[megabytes(peakBytes), (peakBytes / weightBytes).toFixed(2)],
    ...[seconds(pass), seconds(read), seconds(compress), seconds(write), seconds(read, compress, write)],
  ];
  return `| ${figures.join(' | ')} |\n`;
}

const COLUMNS = [
  ...['model', 'weights, MB', 'layers', 'process, MB', 'reading adds, MB', 'peak, MB', 'peak / weights'],
  ...['pass alone, s', 'read, s', 'compress, s', 'write, s', 'all, s (of the processor)'],
];
const HEADER = `| ${COLUMNS.join(' | ')} |\n|${'---|'.repeat(COLUMNS.length)}\n`;

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-bench-'));
  try {
    process.stdout.write(HEADER);
    const large = model(1_000_000, [128, 4096, 8192, 4096, 8192, 4096]);
    const single = join(folder, 'single.onnx');
    const external = join(folder, 'external.onnx');
    const dense = join(folder, 'dense.onnx');
    await writeFile(single, encodeModel(large));
    await writeModel(large, external);
    await writeFile(dense, encodeModel(model(0, Array<number>(26).fill(1024))));
    const target = (name: string): string => join(folder, name, 'int8.onnx');
    const weightBytes = [...large.graph.initializers.values()].reduce(
      (sum, { dims }) => sum + 4 * elementCount(dims),
      0,
    );
    process.stdout.write(line('one file', weightBytes, await inChild(single, target('one'))));
    process.stdout.write(line('external data', weightBytes, await inChild(external, target('two'))));
    process.stdout.write(line('25 dense layers', 25 * 4 * 1024 ** 2, await inChild(dense, target('three'))));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const [path, target] = process.argv.slice(2);
if (path !== undefined && target !== undefined)
  process.stdout.write(JSON.stringify(await compressFile(path, target)));
else await main();
