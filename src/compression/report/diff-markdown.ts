import type { DiffReport } from '../diff/diff-models.js';
import { tableText } from './columns.js';
import {
  lossText,
  OPERATOR_COLUMNS,
  OUTPUT_COLUMNS,
  PAIR_COLUMNS,
  sizePairs,
  VALUE_COLUMNS,
  WEIGHT_COLUMNS,
} from './diff-rows.js';

/** Rows of a table; the JSON and the page have all. */
const SHOWN = 20;

/** The comparison for the terminal; `a` and `b` are the models' names. */
export function diffMarkdown(report: DiffReport, a: string, b: string): string {
  const { weights, loss, operators, outputs } = report;
  const moved = operators.filter(({ onlyA, onlyB }) => onlyA + onlyB > 0);
  const worst = [...weights.differing].sort((x, y) => (x.sqnrDb ?? 0) - (y.sqnrDb ?? 0));
  return [
    `# ${a} and ${b}\n`,
    `## Size\n\n${tableText(PAIR_COLUMNS, sizePairs(report))}`,
    `## Operators that differ\n\n${tableText(OPERATOR_COLUMNS, moved, SHOWN)}`,
    `## Weights that differ, the worst first\n\n${tableText(WEIGHT_COLUMNS, worst, SHOWN)}`,
    `## Where accuracy is lost\n\n${lossText(report)}\n\n${tableText(VALUE_COLUMNS, loss.steepest)}`,
    `## Agreement of the outputs\n\n${tableText(OUTPUT_COLUMNS, Object.entries(outputs))}`,
  ].join('\n');
}
