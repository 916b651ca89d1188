import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rankAgreement, type RankAgreement } from '../../src/cli/diff/rank-agreement.js';
import { compress, passes, type DiffReport } from '../../src/compression/index.js';
import { float32 } from '../../src/core/index.js';
import { GraphBuilder, writeModel } from '../../src/onnx/index.js';
import { gemmMlp, rowFeeds } from '../compression/support.js';
import { checkPage } from '../compression/report/page-check.js';
import { whittle, whittleSucceeds } from './whittle.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-diff-'));
  const model = gemmMlp([16, 64, 32, 1]);
  const { model: small } = await compress(model, [passes.quantizeDynamic({ minWeights: 0 })]);
  await writeModel(model, at('a.onnx'));
  await writeModel(small, at('b.onnx'));
  const rows = Array.from(rowFeeds(16, 30)[0]?.['x']?.data ?? [], Number);
  const lines = Array.from({ length: 30 }, (_, row) =>
    JSON.stringify({ x: rows.slice(row * 16, row * 16 + 16) }),
  );
  await writeFile(at('requests.jsonl'), lines.join('\n'));
  const builder = new GraphBuilder();
  builder.output(builder.op.Relu(builder.input('other', 'float32', ['n'])), 'float32', ['n']);
  await writeModel(builder.build(), at('other.onnx'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('diff', () => {
  test('prints the comparison as JSON and writes it as a page', async () => {
    const { stdout } = await whittleSucceeds(
      ...[
        'diff',
        at('a.onnx'),
        at('b.onnx'),
        '--calibrate',
        at('requests.jsonl'),
        '--json',
        '--out',
        at('pages/diff.html'),
      ],
    );
    const report = JSON.parse(stdout) as DiffReport & { ranks: Record<string, RankAgreement> };
    expect(report).toMatchObject({
      format: 1,
      compared: { feeds: 1, source: 'calibration' },
      thresholdDb: 30,
    });
    expect(report.weights.differing.map(({ weight }) => weight)).toEqual(['w1', 'w2', 'w3']);
    expect(report.values.map(({ value }) => value)).toEqual(expect.arrayContaining(['h1', 'h2', 'y']));
    expect(report.ranks['y']).toMatchObject({ ranked: 'rows', lists: 1 });
    expect(report.ranks['y']?.overlapAt10).toBeGreaterThan(0.7);
    expect(report.ranks['y']?.kendallTau).toBeGreaterThan(0.8);
    const html = await readFile(at('pages/diff.html'), 'utf8');
    checkPage(html);
    expect(html).toContain('Agreement of order');
  });

  test('says in text where accuracy is lost, on generated inputs', async () => {
    const { stdout } = await whittleSucceeds('diff', at('a.onnx'), at('b.onnx'), '--threshold', '90');
    expect(stdout).toContain('First below 90 dB: h1 (Gemm) at ');
    expect(stdout).toMatch(/\| y +\| rows +\| +4 \|/);
  });

  test('what is refused is one line', async () => {
    const before = await readdir(folder);
    const refused = await Promise.all([
      whittle('diff', at('a.onnx'), at('none.onnx')),
      whittle('diff', at('a.onnx'), at('other.onnx')),
      whittle('diff', at('a.onnx'), at('b.onnx'), '--out', at('a.onnx/page.html')),
    ]);
    expect(refused.map(({ code, stdout }) => [code, stdout])).toEqual([
      [1, ''],
      [1, ''],
      [1, ''],
    ]);
    const lines = refused.map(({ stderr }) => stderr);
    expect(lines[0]).toMatch(/^FILE_MISSING: .*none\.onnx.*\n$/);
    expect(lines[1]).toMatch(/^GRAPH_UNSUPPORTED: The models take different inputs.*\n$/);
    expect(lines[2]).toMatch(/^FILE_UNWRITABLE: .*\n$/);
    expect(await readdir(folder)).toEqual(before);
  });
});

describe('rankAgreement', () => {
  const scores = (values: readonly number[], dims: readonly number[]) => ({
    y: float32(Float32Array.from(values), dims),
  });

  test('ranks the rows of a feed where each has one score', () => {
    const a = [scores([1, 2, 3, 4], [4, 1])];
    expect(rankAgreement({ a, b: [scores([10, 20, 30, 40], [4, 1])] })).toEqual({
      y: { ranked: 'rows', lists: 1, overlapAt10: 1, kendallTau: 1 },
    });
    // One pair of six is the other way round: (5 - 1) / 6.
    expect(rankAgreement({ a, b: [scores([2, 1, 3, 4], [4, 1])] })['y']?.kendallTau).toBeCloseTo(2 / 3, 12);
  });

  test('ranks the columns of each row where it has several', () => {
    const columns = Array.from({ length: 20 }, (_, index) => index);
    const a = [scores([...columns, ...columns], [2, 20])];
    const b = [scores([...columns, ...columns.map((value) => -value)], [2, 20])];
    expect(rankAgreement({ a, b })).toEqual({
      y: { ranked: 'columns', lists: 2, overlapAt10: 0.5, kendallTau: 0 },
    });
  });

  test('leaves out single scores, and lists that are not finite', () => {
    expect(rankAgreement({ a: [scores([1], [1])], b: [scores([2], [1])] })).toEqual({});
    expect(rankAgreement({ a: [scores([1, -Infinity], [2])], b: [scores([1, 2], [2])] })).toEqual({});
    const equal = { a: [scores([1, 1], [2])], b: [scores([1, 2], [2])] };
    expect(rankAgreement(equal)['y']).toMatchObject({ overlapAt10: 1, kendallTau: null });
  });
});
