export interface TableColumn<Row> {
  readonly header: string;
  readonly cell: (row: Row) => string | number;
  /** Default: left for the first column, right for others. */
  readonly align?: 'left' | 'right';
}

/** A Markdown table whose columns line up as plain text too. A `|` in a cell is escaped, a line break becomes a space. */
export function markdownTable<Row>(columns: readonly TableColumn<Row>[], rows: readonly Row[]): string {
  const rendered = columns.map(({ header, cell, align }, index) => {
    const cells = [header, ...rows.map((row) => String(cell(row)))].map(escapeCell);
    const width = Math.max(3, ...cells.map((text) => text.length));
    const right = (align ?? (index === 0 ? 'left' : 'right')) === 'right';
    const [head = '', ...body] = cells.map((text) => pad(text, width, right));
    return [head, right ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width), ...body];
  });
  const lines = Array.from({ length: rows.length + 2 }, (_, line) =>
    rendered.map((cells) => cells[line] ?? ''),
  );
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ');
}

function pad(text: string, width: number, right: boolean): string {
  const space = ' '.repeat(width - text.length);
  return right ? space + text : text + space;
}
