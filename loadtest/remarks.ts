import { errorCount, type Measurement } from './measurement.js';
import type { Row } from './summary.js';

/** What a reader of the table must know besides: shares of the mixture, and whatever makes a figure doubtful. */
export function remarksOn(rows: readonly Row[], measurements: readonly Measurement[]): readonly string[] {
  const mixture = rows.at(-1);
  const cached = rows.filter((row) => row.cached > 0).map(({ name, cached }) => `${name} ${cached}`);
  const unranked = rows
    .filter(({ variant }) => variant !== undefined)
    .map(({ name, answersByVariant }) => ({ name, count: answersByVariant['none'] ?? 0 }))
    .filter(({ count }) => count > 0)
    .map(({ name, count }) => `${name} ${count}`);
  const failures = measurements.filter((one) => errorCount(one) > 0).map(describeErrors);
  return [
    'Figures are medians over rounds; answers and errors are sums.',
    'The overlap is over all phases. Its interval takes the n compared requests as independent; where users come again (see bodies above) it is too narrow.',
    ...(mixture === undefined ? [] : [`mixture: ${sharesOf(mixture.answersByPipeline)}`]),
    ...(cached.length === 0 ? [] : [`ANSWERED FROM THE CACHE, not by the model: ${cached.join(', ')}`]),
    ...(unranked.length === 0 ? [] : [`answered without a ranker: ${unranked.join(', ')}`]),
    ...failures,
  ];
}

function sharesOf(answers: Readonly<Record<string, number>>): string {
  const entries = Object.entries(answers);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  return entries.map(([name, count]) => `${name} ${((100 * count) / total).toFixed(1)} %`).join(', ');
}

function describeErrors(one: Measurement): string {
  const where = [one.kind, one.pipeline, one.round === 0 ? undefined : `round ${one.round}`];
  const counts = {
    ...Object.fromEntries(Object.entries(one.statuses).filter(([status]) => !status.startsWith('2'))),
    timeouts: one.timeouts,
    'connection errors': one.connectionErrors,
    ...one.server.failuresByCode,
  };
  const said = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`);
  return `ERRORS in ${where.filter((part) => part !== undefined).join(' ')}: ${said.join(', ')}`;
}
