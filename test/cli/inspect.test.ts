import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Inspection } from '../../src/compression/index.js';
import { encodeModel } from '../../src/onnx/index.js';
import { gemmMlp } from '../compression/support.js';
import { whittle, whittleSucceeds } from './whittle.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-inspect-'));
  const bytes = encodeModel(gemmMlp([256, 768, 256, 1]));
  await writeFile(at('ranker.onnx'), bytes);
  await writeFile(at('cut.onnx'), bytes.subarray(0, bytes.length / 2));
  await writeFile(at('text.onnx'), 'not a model');
  await mkdir(at('empty'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe.concurrent('whittle inspect', () => {
  test('of a model, as JSON: what it has, and commands that name it', async () => {
    const path = at('ranker.onnx');
    const { stdout, stderr } = await whittleSucceeds('inspect', path, '--goal', 'mobile', '--json');
    expect(stderr).toBe('');
    const inspection = JSON.parse(stdout) as Inspection & { model: string; advice: { command: string }[] };
    const work = 100 * (256 * 768 + 768 * 256 + 256);
    expect(inspection).toMatchObject({
      model: path,
      format: 1,
      goal: 'mobile',
      nodes: 5,
      subgraphs: 0,
      operators: [
        { operator: 'Gemm', count: 3 },
        { operator: 'Relu', count: 2 },
      ],
      opsets: { 'ai.onnx': 18 },
      inputs: [{ name: 'x', dtype: 'float32', dims: ['rows', 256] }],
      outputs: [{ name: 'y', dtype: 'float32', dims: ['rows', 1] }],
      weights: { denseWeights: work / 100, tableBytes: 0 },
      run: { source: 'generated', multiplyAddsPer100Rows: work },
    });
    expect(inspection.largest[0]).toMatchObject({
      name: 'w1',
      kind: 'dense',
      bytes: 786432,
      readers: ['Gemm Gemm'],
    });
    expect(inspection.advice[0]?.command).toBe(`whittle compress ${path} --recipe w4 --out ranker-w4`);
    expect(inspection.cpu.architecture).toBe(process.arch);
  });

  test('of a bundle, for people: its full variant, counted on its own requests', async () => {
    const { stdout } = await whittleSucceeds('inspect', 'models/demo', '--goal', 'memory');
    expect(stdout).toContain('counted on requests of the bundle');
    expect(stdout).toContain('## Advice for memory');
    expect(stdout).toMatch(/whittle compress models\/demo --recipe int8tables\+int8\S* --name/);
    expect(stdout.split('\n').length).toBeLessThan(75);
    // Numbers the file's own manifest gives: the variant's inputs.
    const manifest = await readFile('models/demo/bundle.json', 'utf8');
    const { contract } = JSON.parse(manifest) as { contract: { inputs: { name: string }[] } };
    for (const { name } of contract.inputs) expect(stdout).toContain(`| ${name} `);
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['what is not there', 'none.onnx', /^FILE_MISSING: .*none\.onnx does not exist\n$/],
    ['a folder that is no bundle', 'empty', /^FILE_MISSING: .*bundle\.json cannot be read\n$/],
    ['a model cut short', 'cut.onnx', /^MODEL_INVALID: .*cut\.onnx.*\n$/],
    ['text', 'text.onnx', /^MODEL_INVALID: .*text\.onnx.*\n$/],
  ];
  test.each(refused)('refuses %s in one line', async (_, name, said) => {
    const { code, stdout, stderr } = await whittle('inspect', at(name));
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(said);
  });

  test('refuses an unknown goal with those there are', async () => {
    const { code, stderr } = await whittle('inspect', at('ranker.onnx'), '--goal', 'fast');
    expect(code).toBe(2);
    expect(stderr).toContain('latency, memory, mobile');
  });
});
