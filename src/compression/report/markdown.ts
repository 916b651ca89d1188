import type { CompressionReport } from '../compress.js';
import { tableText } from './columns.js';
import type { Column } from './columns.js';
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
  stepText,
} from './overview.js';
import type { LeftGroup } from './overview.js';

/** Layers named for one reason; the JSON has all. */
const NAMED = 8;

/** The report as Markdown; `name` is the model's. */
export function reportMarkdown(report: CompressionReport, name: string): string {
  const notes = report.steps.flatMap(({ notes = [] }) => notes);
  return [
    `# ${name}\n\nRecipe: ${report.steps.map(stepText).join(', then ')}. Outputs compared on ${comparedText(report)}.\n`,
    ...notes.map((note) => `> ${note}\n`),
    reportSummary(report),
    `## Layers that changed\n\n${tableText(CHANGED_COLUMNS, changedLayers(report))}`,
    `## Layers left as they were\n\n${tableText([...LEFT_COLUMNS, NAMES], leftGroups(report))}`,
  ].join('\n');
}

/** The tables of sizes and of agreement alone. */
export function reportSummary(report: CompressionReport): string {
  const sizes = tableText(SIZE_COLUMNS, sizeRows(report));
  return `## Size and work\n\n${sizes}\n## Agreement of the outputs\n\n${tableText(AGREEMENT_COLUMNS, agreementRows(report))}`;
}

const NAMES: Column<LeftGroup> = {
  header: 'which',
  cell: ({ layers }) => namedLayers(layers.map(({ layer }) => layer)),
};

function namedLayers(names: readonly string[]): string {
  const rest = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
