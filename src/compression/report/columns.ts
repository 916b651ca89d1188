import { markdownTable } from '../../core/index.js';
import { escapeHtml } from './page.js';

/** A column of a report's table, the same in Markdown and HTML. */
export interface Column<Row> {
  readonly header: string;
  readonly cell: (row: Row) => string | number;
  /** Numbers stand at the right. */
  readonly isNumber?: boolean;
}

/** Columns of a Markdown table are as wide as their longest cell: one long list would blow up every row. */
const MAX_CELL = 160;

/** A Markdown table; of many rows the first `limit`, of long cells the start. */
export function tableText<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  limit = Infinity,
): string {
  if (rows.length === 0) return 'None.\n';
  const aligned = columns.map(({ header, cell, isNumber = false }) => ({
    header,
    cell: (row: Row) => shortened(String(cell(row))),
    align: isNumber ? ('right' as const) : ('left' as const),
  }));
  const rest = rows.length - limit;
  return markdownTable(aligned, rows.slice(0, limit)) + (rest > 0 ? `\nand ${rest} more\n` : '');
}

function shortened(text: string): string {
  return text.length <= MAX_CELL ? text : `${text.slice(0, MAX_CELL - 1)}…`;
}

/** An HTML table of texts. */
export function htmlTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  if (rows.length === 0) return '<p class="soft">None.</p>';
  const cell = (tag: string, { isNumber = false }: Column<Row>, text: string): string =>
    `<${tag}${isNumber ? ' class="number"' : ''}>${escapeHtml(text)}</${tag}>`;
  const head = columns.map((column) => cell('th', column, column.header)).join('');
  const body = rows.map(
    (row) => `<tr>${columns.map((column) => cell('td', column, String(column.cell(row)))).join('')}</tr>`,
  );
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>`;
}
