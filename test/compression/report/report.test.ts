import { describe, expect, it, test } from 'vitest';
import { compressModel, parseRecipe, reportHtml, reportMarkdown } from '../../../src/compression/index.js';
import type { CompressionReport } from '../../../src/compression/index.js';
import { contextWith, gemmMlp, rowFeeds } from '../support.js';
import { checkPage, numbersOf } from './page-check.js';

const MEASURED = {
  denseWeights: 100,
  tableWeights: 50,
  convWeights: 5,
  otherWeights: 10,
  multiplyAddsPer100Rows: 10_000,
};
const before = { ...MEASURED, denseBytes: 400, tableBytes: 200, convBytes: 20, otherBytes: 40 };
const between = { ...before, denseBytes: 200, multiplyAddsPer100Rows: 5000 };
const after = { ...between, denseBytes: 50 };
const error = (relativeRms: number) => ({ y: { maxAbsolute: 0.5, relativeRms, cosine: 0.5 } });
const change = (layer: string, relativeError: number) => ({
  layer,
  change: `${layer} & more`,
  weightsBefore: 10,
  weightsAfter: 5,
  relativeError,
});

const REPORT: CompressionReport = {
  format: 1,
  seed: 3,
  compared: { feeds: 4, source: 'generated' },
  steps: [
    {
      step: { pass: 'prune-structured', share: 0.25 },
      changed: [change('first', 0.1), change('exact', 0)],
      left: [
        { layer: 'head', op: 'Gemm', reason: 'it is the end' },
        { layer: 'tail', op: 'MatMul', reason: 'it is the end' },
        { layer: 'other', op: 'MatMul', reason: 'it is <odd>' },
      ],
      notes: ['Zeros do not speed up <this> runtime.'],
      before,
      after: between,
      outputs: error(0.1),
    },
    {
      step: { pass: 'quantize-dynamic' },
      changed: [
        change('<img src="x" onerror="alert(1)">', 0.001),
        change('a/very/long/name'.repeat(1000), 0.01),
      ],
      left: [],
      before: between,
      after,
      outputs: error(0.01),
    },
  ],
  before,
  after,
  outputs: error(0.2),
};

describe('the page', () => {
  const html = reportHtml(REPORT, 'model & <b>.onnx');

  it('is whole, loads nothing and runs nothing, whatever names it shows', () => {
    checkPage(html);
    expect(html).toContain('<h1>model &amp; &lt;b&gt;.onnx</h1>');
    expect(html).toContain('&lt;img src=&quot;x&quot; onerror=&quot;alert(1)&quot;&gt;');
    expect(html).toContain('Zeros do not speed up &lt;this&gt; runtime.');
  });

  it('draws bytes and work in proportion', () => {
    const dense = numbersOf(html, 'dense', 'width');
    expect(dense.map((width) => width / (dense[0] ?? NaN))).toEqual([
      1,
      expect.closeTo(0.5, 2),
      expect.closeTo(0.125, 2),
    ]);
    const table = numbersOf(html, 'table', 'width');
    expect((table[0] ?? NaN) / (dense[0] ?? NaN)).toBeCloseTo(0.5, 2);
    const work = numbersOf(html, 'work', 'width');
    expect(work.map((width) => width / (work[0] ?? NaN))).toEqual([1, 0.5, 0.5]);
  });

  it('draws errors on a logarithmic scale, the largest first, those above 0', () => {
    const [first = 0, second = 0, third = 0, ...rest] = numbersOf(html, 'error', 'width');
    expect(rest).toEqual([]);
    // 0.1, 0.01 and 0.001 are a decade apart each.
    expect(first - second).toBeCloseTo(second - third, 0);
    expect(third).toBeGreaterThan(0);
  });

  it('gives the table of agreement, the recipe and what was left, by reason', () => {
    expect(html).toContain(
      '<td>all steps</td><td>y</td><td class="number">5.0e-1</td><td class="number">2.0e-1</td><td class="number">14.0</td><td class="number">0.500000</td>',
    );
    expect(html).toContain('prune-structured (share 0.25)');
    expect(html).toContain('<td>1 prune-structured</td><td class="number">2</td><td>it is the end</td>');
    expect(html).toContain('it is &lt;odd&gt;');
  });
});

test('a report of nothing is a page too', () => {
  const html = reportHtml({ ...REPORT, steps: [], outputs: {}, after: before }, 'm');
  checkPage(html);
  expect(html).toContain('No layer changed.');
  expect(html).toContain('None.');
});

test('Markdown has the same figures', () => {
  const text = reportMarkdown(REPORT, 'model.onnx');
  expect(text).toContain(
    '# model.onnx\n\nRecipe: prune-structured (share 0.25), then quantize-dynamic. Outputs compared on 4 feeds of generated inputs (seed 3).',
  );
  // One long cell does not make every row long.
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(500);
  expect(text).toContain('> Zeros do not speed up <this> runtime.');
  const cells = text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  expect(cells).toContainEqual(['all weights', '660 B', '310 B', '2.13×']);
  expect(cells).toContainEqual(['multiply-adds at 100 rows', '10.0 K', '5.00 K', '2.00×']);
  expect(cells).toContainEqual(['2 quantize-dynamic', 'y', '5.0e-1', '1.0e-2', '40.0', '0.500000']);
  expect(cells).toContainEqual(['1 prune-structured', '2', 'it is the end', 'head, tail']);
  expect(cells).toContainEqual(['1 prune-structured', 'first', 'first & more', '1.0e-1']);
});

test('the report of a real run is a whole page, the same again', async () => {
  const recipe = parseRecipe([{ pass: 'low-rank' }, { pass: 'quantize-dynamic', minWeights: 0 }]);
  const run = async (): Promise<string> => {
    const { report } = await compressModel(gemmMlp([32, 64, 32, 1]), recipe, contextWith(rowFeeds(32, 80)));
    return reportHtml(report, 'mlp');
  };
  const html = await run();
  checkPage(html);
  expect(html).toContain('32 × 64');
  expect(await run()).toBe(html);
});
