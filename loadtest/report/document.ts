import { formatTable } from '../table.js';
import type { Plot } from './line-plot.js';

/** A result as people read it; Markdown and HTML show the same, only the page has the plots. */
export interface ReportDocument {
  readonly title: string;
  /** What the result comes to, in a sentence or two. */
  readonly summary: readonly string[];
  /** The conditions under which the figures hold. */
  readonly conditions: readonly string[];
  readonly tables: readonly ReportTable[];
  readonly plots: readonly Plot[];
  readonly remarks: readonly string[];
}

export interface ReportTable {
  readonly title: string;
  /** The first two columns are text, the others figures. */
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The document as Markdown, without its plots. */
export function documentMarkdown({ title, summary, conditions, tables, remarks }: ReportDocument): string {
  const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n');
  const parts = [
    `# ${title}`,
    ...summary,
    list(conditions),
    ...tables.flatMap((table) => [`## ${table.title}`, formatTable(table.header, table.rows)]),
    list(remarks),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}
