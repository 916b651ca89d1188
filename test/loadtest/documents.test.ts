import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FoundRate } from '../../loadtest/open-loop/find-rate.js';
import type { Figures } from '../../loadtest/open-loop/figures.js';
import type { RateRow } from '../../loadtest/open-loop/rate-run.js';
import { parseOptions } from '../../loadtest/options.js';
import { documentMarkdown, type ReportDocument } from '../../loadtest/report/document.js';
import { figureCells } from '../../loadtest/report/figures.js';
import { findRateDocument } from '../../loadtest/report/find-rate-document.js';
import { documentHtml } from '../../loadtest/report/html.js';
import { linePlotSvg, type Plot } from '../../loadtest/report/line-plot.js';
import { latencyPlot, rateDocument } from '../../loadtest/report/rate-document.js';
import { logTicks, niceTicks } from '../../loadtest/report/ticks.js';
import { must } from '../../src/core/index.js';

const figures: Figures = {
  seconds: 10,
  scheduled: 1_000,
  offeredPerSecond: 100,
  ok: 990,
  okPerSecond: 99,
  goodputPerSecond: 98,
  p50Ms: 4,
  p90Ms: 8.123,
  p99Ms: 12.5,
  p99LowMs: 11,
  p999Ms: 123.4,
  maxMs: 200,
  statuses: { 200: 990, 503: 10 },
  refused: 7,
  refusedWithRetryAfter: 7,
  failed: 3,
  timeouts: 3,
  connectionErrors: 0,
  late: 0,
  lagP99Ms: 0.25,
  notSent: 0,
};

describe('ticks', () => {
  const positive = fc.double({ min: 1e-3, max: 1e6, noNaN: true });

  test('cover the values in few even steps', () => {
    expect(niceTicks(0, 437)).toEqual([0, 100, 200, 300, 400, 500]);
    fc.assert(
      fc.property(positive, (high) => {
        const ticks = niceTicks(0, high);
        expect(ticks.at(-1)).toBeGreaterThanOrEqual(high * (1 - 1e-9));
        expect(ticks.length).toBeLessThanOrEqual(8);
      }),
    );
  });

  test('of a logarithmic axis are 1, 2 and 5 around the values', () => {
    expect(logTicks(3, 40)).toEqual([2, 5, 10, 20, 50]);
    fc.assert(
      fc.property(positive, positive, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const ticks = logTicks(low, high);
        expect(ticks.length).toBeGreaterThan(1);
        expect(must(ticks[0], 'tick')).toBeLessThanOrEqual(low * (1 + 1e-9));
        expect(must(ticks.at(-1), 'tick')).toBeGreaterThanOrEqual(high * (1 - 1e-9));
      }),
    );
  });
});

describe('linePlotSvg', () => {
  const plot: Plot = {
    title: 'a < b',
    xLabel: 'rate',
    yLabel: 'ms',
    isLogY: true,
    reference: { name: 'objective', y: 20 },
    series: [
      {
        name: 'full & co',
        colour: 0,
        points: [
          [50, 2],
          [100, 20],
          [150, 2_000],
        ],
      },
      { name: 'p50', colour: 0, isDashed: true, points: [[50, 1]] },
    ],
  };
  const svg = linePlotSvg(plot);
  const dots = Array.from(svg.matchAll(/<circle[^>]* cx="([\d.]+)" cy="([\d.]+)"/g), ([, x, y]) => [
    Number(x),
    Number(y),
  ]);

  test('places points on its scales: even along x, logarithmic along y, the objective among them', () => {
    const [first = [], second = [], third = []] = dots;
    expect(must(second[0], 'x') - must(first[0], 'x')).toBeCloseTo(
      must(third[0], 'x') - must(second[0], 'x'),
      0,
    );
    // From 2 to 20 is half the way from 2 to 200, and a third of that to 2000.
    const rise = must(first[1], 'y') - must(second[1], 'y');
    expect(must(second[1], 'y') - must(third[1], 'y')).toBeCloseTo(2 * rise, 0);
    const reference = /class="reference"[^>]* y1="([\d.]+)"/.exec(svg)?.[1];
    expect(Number(reference)).toBeCloseTo(must(second[1], 'y'), 0);
  });

  test('names every series and tells every point, escaped', () => {
    expect(dots).toHaveLength(4);
    expect(svg).toContain('a &lt; b');
    expect(svg).toContain('>full &amp; co</text>');
    expect(svg).toContain('<title>full &amp; co: rate 100, ms 20</title>');
    expect(svg).not.toContain('full & co');
    expect(svg).not.toContain('NaN');
  });
});

test('a latency plot has p50 and p99 of each line, by rising rate, without what was not measured', () => {
  const { series } = latencyPlot(
    [
      {
        name: 'full',
        points: [
          { rate: 100, p50Ms: 2, p99Ms: 9 },
          { rate: 50, p50Ms: 1 },
        ],
      },
    ],
    20,
  );
  expect(series.map(({ name, points }) => [name, points])).toEqual([
    ['full p99', [[100, 9]]],
    [
      'full p50',
      [
        [50, 1],
        [100, 2],
      ],
    ],
  ]);
});

describe('documents', () => {
  test('figures are cells: digits by size, no upper bound, no p99.9 of few answers', () => {
    expect(figureCells(figures)).toEqual([
      ...['100.0', '99.0', '4.00', '8.12', '12.50', '[11.00, ?]', '–', '990', '7', '3', '0.25'],
    ]);
    expect(figureCells({ ...figures, ok: 10_000 })[6]).toBe('123');
    expect(figureCells({ ...figures, lagP99Ms: 2 })[4]).toBe('12.50 VOID');
  });

  const options = parseOptions(['--p99', '20']);
  const row = (name: string, rate: number, changes: Partial<Figures> = {}): RateRow => ({
    name,
    fromRate: rate,
    toRate: rate,
    figures: { ...figures, ...changes },
    blockP99Ms: [12, 13],
    cpuMicrosPerRequest: 5_123.4,
    answersByPipeline: { full: 3, int8: 1 },
  });

  test('of rates say what holds, what is void and what the mixture was', () => {
    const made = rateDocument(
      [row('full', 50), row('full', 100, { p99Ms: 25 }), row('mixture', 50, { lagP99Ms: 2 })],
      ['a condition'],
      options,
    );
    expect(made.summary[0]).toContain('within 20 ms in 2 of 3 lines');
    expect(made.remarks[0]).toContain('VOID: mixture at 50');
    expect(made.remarks).toContain('mixture: full 75.0 %, int8 25.0 %');
    expect(made.plots).toHaveLength(1);
    const markdown = documentMarkdown(made);
    expect(markdown).toContain('- a condition\n');
    const table = markdown.split('\n').filter((line) => line.startsWith('|'));
    expect(table).toHaveLength(5);
    expect(new Set(table.map(({ length }) => length)).size).toBe(1);
  });

  test('of a search say the rate, or that there is none', () => {
    const probes = [{ rate: 100, purpose: 'bracket' as const, figures, held: true, isVoid: false }];
    const found: FoundRate[] = [
      { name: 'full', rate: 123.45, isLimit: false, probes, figures, blockP99Ms: [12, 13] },
      { name: 'int8', rate: 50_000, isLimit: true, probes, figures, blockP99Ms: [] },
      { name: 'slow', isLimit: false, probes, blockP99Ms: [] },
      { name: 'late', isLimit: false, probes, blockP99Ms: [], voidReason: 'at 9/s twice it was late' },
    ];
    const made = findRateDocument(found, [], options);
    expect(made.summary).toEqual([
      'full: 123.5 requests/s; int8: at least 50000.0 requests/s; slow: no rate holds; late: void.',
    ]);
    expect(made.remarks[0]).toBe('VOID: late: at 9/s twice it was late.');
    expect(made.tables).toHaveLength(5);
    for (const { header, rows } of made.tables)
      for (const cells of rows) expect(cells).toHaveLength(header.length);
  });

  test('as a page are whole in themselves, with names escaped', () => {
    const made: ReportDocument = {
      title: 'T',
      summary: ['a <b> `c`'],
      conditions: ['command: `npm "x"`'],
      tables: [{ title: 'Table', header: ['name', 'x'], rows: [['<script>', '1']] }],
      plots: [],
      remarks: ['VOID: x'],
    };
    const page = documentHtml(made);
    expect(page).toContain('a &lt;b&gt; <code>c</code>');
    expect(page).toContain('<td class="text">&lt;script&gt;</td>');
    expect(page).toContain('<li class="void">VOID: x</li>');
    expect(page).not.toMatch(/<script|<link|url\(|https?:/);
  });
});
