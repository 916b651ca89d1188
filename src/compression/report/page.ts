/** The frame of a report: one HTML page without scripts, fonts or anything else from elsewhere. */

const STYLE = `
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b2330; --soft: #5b6675; --line: #dfe3e9;
  --dense: #3366cc; --table: #14958a; --conv: #c48a1a; --other: #9aa5b4; --work: #7a54c7; --error: #c4562f; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --ink: #e6eaf0; --soft: #9aa6b5;
  --line: #313a47; --dense: #6c96f0; --table: #3fc0b3; --conv: #dcae50; --other: #6b7686; --work: #a688ea; --error: #e5825c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 14px; }
p { margin: 0 0 10px; }
.soft { color: var(--soft); }
.kicker { color: var(--soft); font-size: 12px; letter-spacing: .08em; text-transform: uppercase; margin-bottom: 4px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px; margin-top: 18px; }
.chips { display: flex; flex-wrap: wrap; gap: 6px; margin: 12px 0 0; padding: 0; list-style: none; }
.chips li { border: 1px solid var(--line); border-radius: 999px; padding: 2px 12px; background: var(--card); font-size: 13px; }
.chips li + li::before { content: "then "; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin-top: 18px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.figure b { display: block; font-size: 24px; line-height: 1.3; font-weight: 650; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figure span { color: var(--soft); font-size: 13px; }
.note { border-left: 3px solid var(--error); padding-left: 12px; margin-top: 14px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12.5px; white-space: nowrap; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
th.number, td.number { text-align: right; white-space: nowrap; overflow-wrap: normal; }
th:last-child, td:last-child { padding-right: 0; }
pre { margin: 0 0 10px; overflow-x: auto; }
code { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
svg { display: block; width: 100%; min-width: 640px; height: auto; font-size: 13px; }
svg .label { fill: var(--ink); } svg .value, svg .tick { fill: var(--soft); } svg .grid { stroke: var(--line); }
svg .tick { font-size: 11px; }
.dense { fill: var(--dense); background: var(--dense); } .table { fill: var(--table); background: var(--table); }
.conv { fill: var(--conv); background: var(--conv); }
.other { fill: var(--other); background: var(--other); } .work { fill: var(--work); } .error { fill: var(--error); }
.legend { display: flex; gap: 18px; flex-wrap: wrap; margin: 10px 0 0; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
details { margin-top: 14px; } summary { cursor: pointer; color: var(--soft); }
details > :not(summary) { margin-top: 10px; }
@media print { body { background: #fff; } section, .figure { break-inside: avoid; } }
`;

/** Text as it may stand in an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** A whole page; `content` is HTML. */
export function htmlPage(title: string, content: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`;
}

/** A titled box; `content` is HTML. */
export function section(title: string, content: string): string {
  return `<section>\n<h2>${escapeHtml(title)}</h2>\n${content}\n</section>`;
}

/** A figure in large type with what it is. */
export function figure(value: string, what: string): string {
  return `<div class="figure"><b>${escapeHtml(value)}</b><span>${escapeHtml(what)}</span></div>`;
}

/** What is shown when it is asked for; `content` is HTML. */
export function details(summary: string, content: string): string {
  return `<details><summary>${escapeHtml(summary)}</summary>${content}</details>`;
}
