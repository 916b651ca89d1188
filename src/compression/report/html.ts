import type { CompressionReport } from '../compress.js';
import { logBars, stackedBars } from './charts.js';
import { htmlTable } from './columns.js';
import {
  formatBytes,
  formatCosine,
  formatCount,
  formatDecibels,
  formatError,
  formatFactor,
} from './format.js';
import {
  AGREEMENT_COLUMNS,
  agreementRows,
  CHANGED_COLUMNS,
  changedLayers,
  comparedText,
  LEFT_COLUMNS,
  leftGroups,
  SIZE_COLUMNS,
  sizeRows,
  stagesOf,
  stepText,
  totalBytes,
} from './overview.js';
import type { ChangedLayer, LeftGroup } from './overview.js';
import { details, escapeHtml, figure, htmlPage, section } from './page.js';

/** Layers in the plot of errors; a table under it has the rest. */
const PLOTTED = 30;

/** The report as one HTML page that needs nothing beside itself; `name` is the model's. */
export function reportHtml(report: CompressionReport, name: string): string {
  const left = leftGroups(report);
  const parts = [
    header(report, name),
    figures(report),
    section('Size', sizeChart(report) + htmlTable(SIZE_COLUMNS, sizeRows(report))),
    section('Work', workChart(report)),
    section('Agreement of the outputs', htmlTable(AGREEMENT_COLUMNS, agreementRows(report))),
    section('Error by layer', layerErrors(changedLayers(report))),
    ...(left.length === 0 ? [] : [section('Layers left as they were', leftTables(left))]),
    section('Recipe', recipe(report)),
  ];
  return htmlPage(`${name}: compression report`, parts.join('\n'));
}

function header(report: CompressionReport, name: string): string {
  const steps = report.steps.map((step) => `<li>${escapeHtml(stepText(step))}</li>`).join('');
  const notes = report.steps.flatMap(({ notes = [] }) => notes);
  return `<header>
<div class="kicker">Compression report</div>
<h1>${escapeHtml(name)}</h1>
<p class="soft">Outputs compared on ${escapeHtml(comparedText(report))}.</p>
<ul class="chips">${steps}</ul>
${notes.map((note) => `<p class="note">${escapeHtml(note)}</p>`).join('\n')}
</header>`;
}

function figures(report: CompressionReport): string {
  const { before, after, outputs } = report;
  const worst = Object.values(outputs).sort((a, b) => (b.relativeRms ?? 0) - (a.relativeRms ?? 0))[0];
  const all = [
    figure(
      formatFactor(totalBytes(before), totalBytes(after)),
      `smaller: ${change(totalBytes(before), totalBytes(after), formatBytes)}`,
    ),
    figure(
      formatFactor(before.multiplyAddsPer100Rows, after.multiplyAddsPer100Rows),
      `fewer multiply-adds at 100 rows: ${change(before.multiplyAddsPer100Rows, after.multiplyAddsPer100Rows, formatCount)}`,
    ),
    figure(formatError(worst?.relativeRms), 'largest relative RMS error of an output'),
    figure(
      formatCosine(worst?.cosine),
      `cosine of that output (SQNR ${formatDecibels(worst?.relativeRms)} dB)`,
    ),
  ];
  return `<div class="figures">${all.join('\n')}</div>`;
}

function change(before: number, after: number, format: (value: number) => string): string {
  return `${format(before)} to ${format(after)}`;
}

const KINDS = [
  ['dense', 'denseBytes', 'dense layers'],
  ['table', 'tableBytes', 'tables'],
  ['conv', 'convBytes', 'convolutions'],
  ['other', 'otherBytes', 'other'],
] as const;

function sizeChart(report: CompressionReport): string {
  const bars = stagesOf(report).map(({ name, measured }) => ({
    label: name,
    text: formatBytes(totalBytes(measured)),
    parts: KINDS.map(([className, field, what]) => ({
      value: measured[field],
      className,
      title: `${what}: ${formatBytes(measured[field])}`,
    })),
  }));
  const legend = KINDS.map(([className, , what]) => `<span><i class="${className}"></i>${what}</span>`);
  return `${stackedBars(bars, 'Bytes of weights after each step')}<div class="legend">${legend.join('')}</div><br>`;
}

function workChart(report: CompressionReport): string {
  const bars = stagesOf(report).map(({ name, measured: { multiplyAddsPer100Rows: count } }) => ({
    label: name,
    text: formatCount(count),
    parts: [{ value: count, className: 'work', title: `${formatCount(count)} multiply-adds` }],
  }));
  const said =
    'Multiply-adds of the matrix products in a run of 100 rows. What a step does to the time of a run is measured, not counted.';
  return `${stackedBars(bars, 'Multiply-adds at 100 rows after each step')}<p class="soft">${said}</p>`;
}

function layerErrors(changed: readonly ChangedLayer[]): string {
  if (changed.length === 0) return '<p class="soft">No layer changed.</p>';
  const table = htmlTable(CHANGED_COLUMNS, changed);
  const count = changed.length === 1 ? 'The layer' : `All ${changed.length} layers`;
  return errorChart(changed) + details(`${count} that changed, and how`, table);
}

function errorChart(changed: readonly ChangedLayer[]): string {
  const plotted = changed
    .filter(({ relativeError: error }) => error > 0 && Number.isFinite(error))
    .slice(0, PLOTTED);
  if (plotted.length === 0) return '<p class="soft">No layer has an error.</p>';
  const bars = plotted.map(({ layer, change: said, relativeError, step }) => ({
    label: layer,
    value: relativeError,
    className: 'error',
    text: formatError(relativeError),
    title: `${step}: ${said}`,
  }));
  const said = `Relative root mean square error that a step brought into a layer, the largest first${changed.length > plotted.length ? ` (${plotted.length} of ${changed.length})` : ''}; logarithmic.`;
  return `${logBars(bars, 'Relative error by layer')}<p class="soft">${said}</p>`;
}

function leftTables(groups: readonly LeftGroup[]): string {
  const all = groups.flatMap(({ step, layers }) => layers.map((layer) => ({ step, ...layer })));
  const named = htmlTable(
    [
      { header: 'step', cell: ({ step }) => step },
      { header: 'layer', cell: ({ layer }) => layer },
      { header: 'operator', cell: ({ op }) => op },
      { header: 'reason', cell: ({ reason }) => reason },
    ],
    all,
  );
  return htmlTable(LEFT_COLUMNS, groups) + details(all.length === 1 ? 'Which' : `All ${all.length}`, named);
}

function recipe({ steps, seed }: CompressionReport): string {
  const text = JSON.stringify(
    steps.map(({ step }) => step),
    null,
    2,
  );
  return `<pre><code>${escapeHtml(text)}</code></pre><p class="soft">Seed ${seed}. The same model, recipe, data and seed give the same bytes.</p>`;
}
