import { markdownTable } from '../../core/index.js';
import type { CompressionReport } from '../compress.js';
import { formatError, formatFactor } from './format.js';
import {
  agreementRows,
  changedLayers,
  comparedText,
  leftGroups,
  sizeRows,
  stepText,
  type AgreementRow,
  type ChangedLayer,
  type LeftGroup,
  type SizeRow,
} from './overview.js';

/** Layers named for one reason; the JSON has all. */
const NAMED = 8;

/** The report as Markdown; `name` is the model's. */
export function reportMarkdown(report: CompressionReport, name: string): string {
  const notes = report.steps.flatMap(({ notes = [] }) => notes);
  const changed = changedLayers(report);
  const left = leftGroups(report);
  return [
    `# ${name}\n\nRecipe: ${report.steps.map(stepText).join(', then ')}. Outputs compared on ${comparedText(report)}.\n`,
    ...notes.map((note) => `> ${note}\n`),
    reportSummary(report),
    `## Layers that changed\n\n${changed.length === 0 ? 'None.\n' : changedTable(changed)}`,
    ...(left.length === 0 ? [] : [`## Layers left as they were\n\n${leftTable(left)}`]),
  ].join('\n');
}

/** The tables of sizes and of agreement alone. */
export function reportSummary(report: CompressionReport): string {
  return `## Size and work\n\n${sizeTable(sizeRows(report))}\n## Agreement of the outputs\n\n${agreementTable(agreementRows(report))}`;
}

function sizeTable(rows: readonly SizeRow[]): string {
  return markdownTable(
    [
      { header: '', cell: ({ name }) => name },
      { header: 'before', cell: ({ before, format }) => format(before) },
      { header: 'after', cell: ({ after, format }) => format(after) },
      { header: 'factor', cell: ({ before, after }) => formatFactor(before, after) },
    ],
    rows,
  );
}

function agreementTable(rows: readonly AgreementRow[]): string {
  if (rows.length === 0) return 'The model has no numeric outputs.\n';
  return markdownTable(
    [
      { header: 'after', cell: ({ step }) => step },
      { header: 'output', cell: ({ output }) => output, align: 'left' },
      { header: 'largest error', cell: ({ maxAbsolute }) => maxAbsolute },
      { header: 'relative RMS error', cell: ({ relativeRms }) => relativeRms },
      { header: 'SQNR dB', cell: ({ decibels }) => decibels },
      { header: 'cosine', cell: ({ cosine }) => cosine },
    ],
    rows,
  );
}

function changedTable(rows: readonly ChangedLayer[]): string {
  return markdownTable(
    [
      { header: 'step', cell: ({ step }) => step },
      { header: 'layer', cell: ({ layer }) => layer, align: 'left' },
      { header: 'change', cell: ({ change }) => change, align: 'left' },
      { header: 'relative error', cell: ({ relativeError }) => formatError(relativeError) },
    ],
    rows,
  );
}

function leftTable(rows: readonly LeftGroup[]): string {
  return markdownTable(
    [
      { header: 'step', cell: ({ step }) => step },
      { header: 'layers', cell: ({ layers }) => layers.length },
      { header: 'reason', cell: ({ reason }) => reason, align: 'left' },
      { header: 'which', cell: ({ layers }) => namedLayers(layers.map(({ layer }) => layer)), align: 'left' },
    ],
    rows,
  );
}

function namedLayers(names: readonly string[]): string {
  const rest = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
