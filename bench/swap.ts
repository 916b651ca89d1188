#!/usr/bin/env node
/**
 * Hot swaps under load: a server is told by SIGHUP to change between two versions of a bundle while requests come at a
 * constant rate. Counts what fails or mixes versions, and follows processes and memory.
 *
 *     npm run bench:swap -- --bundle models/demo --swaps 100 --rate 200
 */
import { parseArgs } from 'node:util';
import { withServer } from './serving/server.js';
import { makeVersions, type Versions } from './swap/versions.js';
import { runSwaps, type SwapFigures } from './swap/swaps.js';

const { values: options } = parseArgs({
  options: {
    bundle: { type: 'string', default: 'models/demo' },
    swaps: { type: 'string', default: '100' },
    rate: { type: 'string', default: '200' },
  },
});

function table(figures: SwapFigures, { runners, pipeline }: Versions): string {
  const { swaps, answers, failures, mixed, latency, idleLatency, swapMs, processes, memory } = figures;
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  const rows: readonly (readonly [string, string])[] = [
    ['swaps', `${swaps}, each of ${runners} runners`],
    [`answers of pipeline ${pipeline}`, String(answers)],
    ['failed', String(failures.length)],
    ['answers that fit no version', String(mixed)],
    ['p50, p99, p99.9', latency.map((ms) => `${ms.toFixed(1)} ms`).join(', ')],
    ['the same before the first swap', idleLatency.map((ms) => `${ms.toFixed(1)} ms`).join(', ')],
    ['signal to first new answer, median and longest', swapMs.map((ms) => `${ms.toFixed(0)} ms`).join(', ')],
    ['processes after a swap, fewest and most', processes.join(', ')],
    [
      'memory of all (PSS), after the first and the last tenth of swaps',
      memory.map(mebibytes).join(', ') + ' MiB',
    ],
  ];
  return ['| | |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
}

const versions = await makeVersions(options.bundle);
try {
  const figures = await withServer(versions.link, {}, (server) =>
    runSwaps(server, versions, {
      swaps: Number(options.swaps),
      ratePerSecond: Number(options.rate),
      note: (line) => process.stderr.write(`${line}\n`),
    }),
  );
  process.stdout.write(`${table(figures, versions)}\n`);
  for (const failure of new Set(figures.failures)) process.stderr.write(`${failure}\n`);
  if (figures.failures.length + figures.mixed > 0) process.exitCode = 1;
} finally {
  await versions.remove();
}
