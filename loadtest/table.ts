/**
 * A Markdown table whose columns are aligned in plain text too: the first two columns to the left, the others, which
 * hold figures, to the right. Every row has as many cells as the header.
 */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows].map((cells) => cells.map(escape));
  const widths = header.map((_, column) => Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string => {
    const width = widths[column] ?? 0;
    return isText(column) ? cell.padEnd(width) : cell.padStart(width);
  };
  const line = (cells: readonly string[]): string => `| ${cells.map(pad).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    isText(column) ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  const [titles = [], ...body] = lines;
  return [line(titles), line(rule), ...body.map(line)].join('\n');
}

function isText(column: number): boolean {
  return column < 2;
}

/** A bar inside a cell would end it. */
function escape(cell: string): string {
  return cell.replaceAll('|', '\\|');
}
