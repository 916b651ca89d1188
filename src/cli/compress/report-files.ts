import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  reportHtml,
  reportMarkdown,
  reportSummary,
  type CompressionReport,
} from '../../compression/index.js';
import { unwritable } from '../../core/index.js';

/** Writes `<base>.json`, `<base>.md` and `<base>.html`; `title` names the model. @throws FILE_UNWRITABLE */
export async function writeReports(
  directory: string,
  base: string,
  report: CompressionReport,
  title: string,
): Promise<void> {
  const files = {
    json: `${JSON.stringify(report, null, 2)}\n`,
    md: reportMarkdown(report, title),
    html: reportHtml(report, title),
  };
  for (const [extension, text] of Object.entries(files)) {
    const path = join(directory, `${base}.${extension}`);
    try {
      await writeFile(path, text);
    } catch (thrown) {
      throw unwritable(path, thrown);
    }
  }
}

/** What a recipe did, for the terminal. */
export function describeReport(report: CompressionReport): string {
  const count = (field: 'changed' | 'left'): number =>
    report.steps.reduce((sum, step) => sum + step[field].length, 0);
  const notes = report.steps.flatMap(({ notes = [] }) => notes);
  return [
    reportSummary(report),
    `${count('changed')} layers changed, ${count('left')} left as they were.`,
    ...notes,
  ].join('\n');
}
