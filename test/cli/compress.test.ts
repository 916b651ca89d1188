import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CompressionReport } from '../../src/compression/index.js';
import { must, sha256File } from '../../src/core/index.js';
import { GraphBuilder, readModel, writeModel } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { gemmMlp, rowFeeds } from '../compression/support.js';
import { whittle, whittleSucceeds } from './whittle.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-compress-'));
  // Weights of 256 KiB and 1 MiB, so that they have files of their own, the larger one as int8 too.
  await writeModel(gemmMlp([64, 1024, 256, 1]), at('ranker.onnx'));
  await writeModel(gemmMlp([64, 96, 64, 1]), at('narrow.onnx'));
  const rows = Array.from(rowFeeds(64, 200)[0]?.['x']?.data ?? [], Number);
  const lines = Array.from({ length: 200 }, (_, row) =>
    JSON.stringify({ x: rows.slice(row * 64, row * 64 + 64) }),
  );
  await writeFile(at('requests.jsonl'), lines.join('\n'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Every file under the folder, hidden ones too. */
async function files(): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}

interface Printed {
  readonly model: string;
  readonly report: CompressionReport;
}

describe('a model file', () => {
  test('becomes a folder with the model and its report', async () => {
    const { stdout } = await whittleSucceeds(
      ...['compress', at('ranker.onnx'), '--recipe', 'int8', '--out', at('deep/int8'), '--json'],
    );
    const { model, report } = JSON.parse(stdout) as Printed;
    expect(model).toBe(at('deep/int8/ranker.onnx'));
    expect((await readdir(at('deep/int8'))).sort()).toEqual([
      'ranker.onnx',
      'report.html',
      'report.json',
      'report.md',
      'weights',
    ]);
    expect(await readdir(at('deep'))).toEqual(['int8']);
    expect(JSON.parse(await readFile(at('deep/int8/report.json'), 'utf8'))).toEqual(report);
    expect(report).toMatchObject({ format: 1, seed: 1, compared: { feeds: 4, source: 'generated' } });
    expect(report.after.denseBytes).toBeLessThan(report.before.denseBytes / 3.9);
    expect(await readFile(at('deep/int8/report.html'), 'utf8')).toContain(
      '<title>ranker.onnx: compression report',
    );
    const session = await openSession(model);
    expect((await session.run(rowFeeds(64, 3)[0] ?? {}))['y']?.dims).toEqual([3, 1]);
    await session.release();
  });

  test('is calibrated on recorded requests, the same again for the same input', async () => {
    const run = async (out: string): Promise<CompressionReport> => {
      const { stdout } = await whittleSucceeds(
        ...['compress', at('narrow.onnx'), '--recipe', 'int8+pruned', '--calibrate', at('requests.jsonl')],
        ...['--out', at(out), '--name', 'small', '--json'],
      );
      return (JSON.parse(stdout) as Printed).report;
    };
    const report = await run('once');
    expect(report.compared).toEqual({ feeds: 4, source: 'calibration' });
    expect(report.steps.map(({ step }) => step.pass)).toEqual(['prune-structured', 'quantize-dynamic']);
    expect(await run('again')).toEqual(report);
    const names = (await readdir(at('once'), { recursive: true, withFileTypes: true })).filter((file) =>
      file.isFile(),
    );
    for (const { name, parentPath } of names) {
      const twin = parentPath.replace(at('once'), at('again'));
      expect([name, await sha256File(join(twin, name))]).toEqual([
        name,
        await sha256File(join(parentPath, name)),
      ]);
    }
    expect(names.map(({ name }) => name)).toContain('small.onnx');
  }, 120_000);

  test('says in a few lines what was done', async () => {
    const { stdout } = await whittleSucceeds(
      'compress',
      at('ranker.onnx'),
      '--recipe',
      'int8',
      '--out',
      at('said'),
    );
    expect(stdout).toMatch(/\| dense +\| +1\.31 MB \| +334 KB \| +3\.93× \|/);
    expect(stdout).toContain('2 layers changed, 1 left as they were.');
    expect(stdout).toContain(`${at('said/ranker.onnx')}: made, with its report beside it,`);
  });
});

/** Files of at most 100 KiB: writing beyond fails as it does on a full disk. */
async function whittleOnFullDisk(...args: readonly string[]): Promise<{ code: number; stderr: string }> {
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
  const command = [process.execPath, '--import', 'tsx', main, ...args];
  // Without the cache of compiled modules, which would be written too.
  const env = { ...process.env, TSX_DISABLE_CACHE: '1' };
  return promisify(execFile)('bash', ['-c', 'ulimit -f 100; exec "$@"', 'bash', ...command], { env }).then(
    ({ stderr }) => ({ code: 0, stderr }),
    (failure: unknown) => failure as { code: number; stderr: string },
  );
}

describe('one line, and nothing is written', () => {
  beforeAll(async () => {
    await writeFile(at('text.onnx'), 'This is no model at all, whatever its name says.');
    await writeModel(gemmMlp([16, 64, 1]), at('small.onnx'));
    const bytes = await readFile(at('small.onnx'));
    await writeFile(at('cut.onnx'), bytes.subarray(0, bytes.length >> 1));
    await writeFile(at('wrong.csv'), 'xx\n"[1, 2]"\n');
    await writeFile(at('narrow.csv'), 'x\n"[1, 2]"\n');
    await writeFile(at('typo.yaml'), 'steps:\n  - pass: low-rank\n    rankshare: 0.5\n');
    await mkdir(at('taken'));
    const builder = new GraphBuilder();
    builder.output(builder.op.Relu(builder.input('x', 'float32', ['n', 4])), 'float32', ['n', 4]);
    await writeModel(builder.build(), at('bare.onnx'));
  });

  const REFUSED: readonly (readonly [string, number, RegExp, readonly string[]])[] = [
    [
      'no model',
      1,
      /^FILE_MISSING: .*none\.onnx does not exist/,
      ['none.onnx', '--recipe', 'int8', '--out', 'new'],
    ],
    ['not ONNX', 1, /^MODEL_INVALID: .*text\.onnx/, ['text.onnx', '--recipe', 'int8', '--out', 'new']],
    [
      'a file that is cut',
      1,
      /^MODEL_INVALID: .*cut\.onnx/,
      ['cut.onnx', '--recipe', 'int8', '--out', 'new'],
    ],
    ['no place', 2, /^USAGE_INVALID: --out is missing/, ['ranker.onnx', '--recipe', 'int8']],
    [
      'a place that is taken',
      2,
      /^USAGE_INVALID: --out .*taken exists already: name a new folder/,
      ['ranker.onnx', '--recipe', 'int8', '--out', 'taken'],
    ],
    [
      'a place that cannot be',
      1,
      /^FILE_UNWRITABLE: .*no folder/,
      ['ranker.onnx', '--recipe', 'int8', '--out', 'cut.onnx/new'],
    ],
    [
      'an unknown shorthand',
      2,
      /^RECIPE_INVALID: "prunde".*did you mean pruned\?/,
      ['ranker.onnx', '--recipe', 'prunde', '--out', 'new'],
    ],
    [
      'an unknown parameter',
      2,
      /^RECIPE_INVALID: .*no parameter rankshare.*did you mean rankShare\?/,
      ['ranker.onnx', '--recipe', 'typo.yaml', '--out', 'new'],
    ],
    [
      'columns of other names',
      1,
      /^DATASET_INVALID: wrong\.csv .*no column for x; no input for xx \(did you mean x\?\)\. Inputs: x\. Columns: xx/,
      ['ranker.onnx', '--recipe', 'int8', '--calibrate', 'wrong.csv', '--out', 'new'],
    ],
    [
      'columns of another width',
      1,
      /^DATASET_INVALID: narrow\.csv: row 1, column x: its shape is \[2\].*\[64\]/,
      ['ranker.onnx', '--recipe', 'int8', '--calibrate', 'narrow.csv', '--out', 'new'],
    ],
    [
      'a pass that needs requests',
      2,
      /^RECIPE_INVALID: .*calibration requests/,
      ['ranker.onnx', '--recipe', 'pruned', '--out', 'new'],
    ],
    [
      'nothing to compress',
      1,
      /^GRAPH_UNSUPPORTED: There is nothing in bare\.onnx that quantize-dynamic can compress/,
      ['bare.onnx', '--recipe', 'int8', '--out', 'new'],
    ],
    [
      'an option of bundles',
      2,
      /^USAGE_INVALID: --from full: a model file has no variants/,
      ['ranker.onnx', '--recipe', 'int8', '--from', 'full', '--out', 'new'],
    ],
  ];

  test('what is refused', async () => {
    const before = await files();
    const pathOf = (arg: string): string => (/\.|^new$|^taken$/.test(arg) ? at(arg) : arg);
    // Side by side: starting a process is most of the time.
    const finished = await Promise.all(
      REFUSED.map(([, , , args]) => whittle('compress', ...args.map(pathOf))),
    );
    for (const [index, [what, code, message]] of REFUSED.entries()) {
      const { stderr, ...rest } = must(finished[index], what);
      expect(stderr).toMatch(message);
      expect([what, rest, stderr.trimEnd().split('\n').length]).toEqual([what, { code, stdout: '' }, 1]);
    }
    expect(await files()).toEqual(before);
  }, 120_000);

  test('a full disk', async () => {
    const before = await files();
    const { code, stderr } = await whittleOnFullDisk(
      'compress',
      at('ranker.onnx'),
      '--recipe',
      'int8',
      '--out',
      at('new'),
    );
    expect(stderr).toMatch(/^FILE_UNWRITABLE: Cannot write .*\n$/);
    expect(code).toBe(1);
    expect(await files()).toEqual(before);
  });
});

test('what was made can be compressed further', async () => {
  await cp(at('deep/int8'), at('first'), { recursive: true });
  await writeFile(at('more.json'), JSON.stringify([{ pass: 'quantize-dynamic', minWeights: 0 }]));
  await whittleSucceeds(
    'compress',
    at('first/ranker.onnx'),
    '--recipe',
    at('more.json'),
    '--out',
    at('second'),
  );
  const { graph } = await readModel(at('second/ranker.onnx'));
  expect(graph.nodes.filter(({ op }) => op === 'MatMulInteger')).toHaveLength(3);
});
