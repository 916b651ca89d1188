import type { DiffReport } from '../diff/diff-models.js';
import type { UncomparedWeight } from '../diff/weight-errors.js';
import { stackedBars } from './charts.js';
import { htmlTable } from './columns.js';
import type { Column } from './columns.js';
import {
  lossText,
  OPERATOR_COLUMNS,
  OUTPUT_COLUMNS,
  PAIR_COLUMNS,
  sizePairs,
  sqnrText,
  VALUE_COLUMNS,
  WEIGHT_COLUMNS,
} from './diff-rows.js';
import { formatBytes, formatDecibels, formatError, formatFactor } from './format.js';
import { totalBytes } from './overview.js';
import { details, escapeHtml, figure, htmlPage, section } from './page.js';

/** Values in the plot; a table under it has all. */
const PLOTTED = 40;

/** The comparison as one HTML page; `a` and `b` are the models' names, `more` is HTML to add. */
export function diffHtml(report: DiffReport, a: string, b: string, more: readonly string[] = []): string {
  const parts = [
    header(report, a, b),
    figures(report),
    section(
      'Where accuracy is lost',
      `<p>${escapeHtml(lossText(report))}</p>${valueChart(report)}${valueTable(report)}`,
    ),
    section('Agreement of the outputs', outputTable(report)),
    ...more,
    section('Weights', weightTables(report)),
    section('Size', htmlTable(PAIR_COLUMNS, sizePairs(report))),
    section('Operators', htmlTable(OPERATOR_COLUMNS, report.operators)),
  ];
  return htmlPage(`${a} and ${b}: comparison`, parts.join('\n'));
}

function header({ compared: { feeds, source } }: DiffReport, a: string, b: string): string {
  const inputs = source === 'calibration' ? 'recorded requests' : 'generated inputs';
  return `<header>
<div class="kicker">Comparison of two models</div>
<h1>${escapeHtml(a)} <span class="soft">and</span> ${escapeHtml(b)}</h1>
<p class="soft">Run on the same ${feeds} feeds of ${inputs}. Errors are those of the second against the first.</p>
</header>`;
}

function figures({ outputs, values, sizes: { a, b }, loss }: DiffReport): string {
  const worst = Object.values(outputs).sort((x, y) => (y.relativeRms ?? 0) - (x.relativeRms ?? 0))[0];
  const all = [
    figure(
      formatFactor(totalBytes(a), totalBytes(b)),
      `smaller: ${formatBytes(totalBytes(a))} to ${formatBytes(totalBytes(b))}`,
    ),
    figure(`${formatDecibels(worst?.relativeRms)} dB`, 'signal to noise of the worst output'),
    figure(formatError(worst?.maxAbsolute), 'largest error of that output'),
    figure(loss.first?.node ?? 'none', `first of ${values.length} values that is damaged`),
  ];
  return `<div class="figures">${all.join('\n')}</div>`;
}

function valueChart({ values, loss: { first } }: DiffReport): string {
  const measured = values.filter(({ sqnrDb }) => sqnrDb !== null);
  // In the order of the graph; of many, those that lost most, still in that order.
  const lossy = new Set([...measured].sort((x, y) => y.dropDb - x.dropDb).slice(0, PLOTTED));
  const plotted = measured.filter((value) => lossy.has(value));
  if (plotted.length === 0) return '';
  const bars = plotted.map((value) => ({
    label: value.value,
    text: `${sqnrText(value)} dB`,
    parts: [
      {
        value: Math.max(0, value.sqnrDb ?? 0),
        className: value.value === first?.value ? 'error' : 'work',
        title: `${value.op} ${value.node}: drop of ${value.dropDb.toFixed(1)} dB`,
      },
    ],
  }));
  const some =
    plotted.length < measured.length ? ` (the ${plotted.length} of ${measured.length} that lose most)` : '';
  return `${stackedBars(bars, 'Signal to noise of the values on the way')}<p class="soft">Signal to noise in the order of the graph${some}; longer is better.</p>`;
}

function valueTable({ values }: DiffReport): string {
  if (values.length === 0) return '';
  return details(`All ${values.length} values, in the order of the graph`, htmlTable(VALUE_COLUMNS, values));
}

function outputTable({ outputs, outputsOnlyA, outputsOnlyB }: DiffReport): string {
  const alone = [
    ...outputsOnlyA.map((name) => `${name} is an output of the first model only.`),
    ...outputsOnlyB.map((name) => `${name} is an output of the second model only.`),
  ];
  const notes = alone.map((line) => `<p class="note">${escapeHtml(line)}</p>`);
  return htmlTable(OUTPUT_COLUMNS, Object.entries(outputs)) + notes.join('');
}

const UNCOMPARED_COLUMNS: readonly Column<UncomparedWeight>[] = [
  { header: 'weight', cell: ({ weight }) => weight },
  { header: 'layer', cell: ({ layer }) => layer },
  { header: 'why', cell: ({ reason }) => reason },
];

function weightTables({ weights: { identical, differing, uncompared } }: DiffReport): string {
  const said = `${identical} constants are the same in both. “Effective” weights are what the second model multiplies with in the layer’s place, dequantized and multiplied out.`;
  const others = htmlTable(UNCOMPARED_COLUMNS, uncompared);
  return [
    `<p class="soft">${said}</p>`,
    htmlTable(WEIGHT_COLUMNS, differing),
    uncompared.length === 0 ? '' : details(`${uncompared.length} that could not be compared`, others),
  ].join('');
}
