import type { ReportDocument, ReportTable } from './document.js';
import { escapeHtml } from './escape.js';
import { linePlotSvg } from './line-plot.js';

/** Colours that people with the common colour blindnesses tell apart (Okabe and Ito 2008), darkened on white. */
const STYLE = `
:root { color-scheme: light dark; --ground: #fff; --ink: #1d2129; --soft: #5b6472; --rule: #dfe3e8; --band: #00000009;
  --c0: #0072b2; --c1: #c44e00; --c2: #00805c; --c3: #a8457f; --c4: #8a6d00; --c5: #4b4f58; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171c; --ink: #e6e9ee; --soft: #a0a9b6; --rule: #303742; --band: #ffffff0d;
    --c0: #56b4e9; --c1: #ff8c42; --c2: #2fc99b; --c3: #e08cc0; --c4: #f0d34a; --c5: #b9c0ca; } }
body { margin: 2rem auto; padding: 0 1rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.summary { font-size: 1.1rem; } .void { color: var(--c1); font-weight: 600; }
ul { padding-left: 1.2rem; color: var(--soft); } code { font-size: 0.9em; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.5rem; font-size: 0.9em; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } .text { text-align: left; }
svg { display: block; width: 100%; max-width: 60rem; height: auto; margin: 1rem 0; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .plot-title { font-weight: 600; font-size: 13px; } svg .tick { fill: var(--soft); }
.grid { stroke: var(--rule); } .axis { stroke: var(--soft); } .band { fill: var(--band); }
.series path { fill: none; stroke: var(--c); stroke-width: 2; } .dashed path { stroke-dasharray: 5 4; }
.dot { fill: var(--c); stroke: var(--c); } .hollow { fill: var(--ground); }
.reference, .reference-key path { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 2 4; }
${Array.from({ length: 6 }, (_, place) => `.c${place} { --c: var(--c${place}); }`).join(' ')}
`.trim();

/** The document as one page that needs nothing else: no script, no font, no picture from anywhere. */
export function documentHtml(document: ReportDocument): string {
  const { title, summary, conditions, tables, plots, remarks } = document;
  return `${[
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escapeHtml(title)}</title>`,
    `<style>\n${STYLE}\n</style>`,
    '</head>',
    '<body>',
    `<h1>${escapeHtml(title)}</h1>`,
    ...summary.map((line) => `<p class="summary">${inline(line)}</p>`),
    ...plots.map(linePlotSvg),
    ...tables.map(tableHtml),
    '<h2>Remarks</h2>',
    list(remarks),
    '<h2>Conditions</h2>',
    list(conditions),
    '</body>',
    '</html>',
  ].join('\n')}\n`;
}

function tableHtml({ title, header, rows }: ReportTable): string {
  const row = (cells: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${cells.map((cell, column) => `<${tag}${column < 2 ? ' class="text"' : ''}>${inline(cell)}</${tag}>`).join('')}</tr>`;
  return [
    `<h2>${escapeHtml(title)}</h2>`,
    '<div class="wide"><table>',
    row(header, 'th'),
    ...rows.map((cells) => row(cells, 'td')),
    '</table></div>',
  ].join('\n');
}

function list(lines: readonly string[]): string {
  const item = (line: string): string =>
    `<li${line.startsWith('VOID') ? ' class="void"' : ''}>${inline(line)}</li>`;
  return `<ul>\n${lines.map(item).join('\n')}\n</ul>`;
}

/** What the documents use of Markdown inside a line: code. */
function inline(text: string): string {
  return escapeHtml(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>');
}
