#!/usr/bin/env node
/**
 * What serving costs beyond the model: the CPU time of a request beside that of a bare loop of `run` on the same model
 * and rows, in turn.
 *
 *     npm run bench:serve -- --bundle models/demo --out docs/results/serving
 */
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { measureHop } from './serving/hop.js';
import { hopTable } from './serving/tables.js';

const { values: options } = parseArgs({
  options: {
    bundle: { type: 'string', multiple: true, default: ['models/demo'] },
    variants: { type: 'string', default: 'full,int8' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '16' },
    candidates: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});

const note = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
const parts = [
  `Measured on ${new Date().toISOString().slice(0, 10)} on ${cpus().length} cores of ${cpus()[0]?.model ?? 'an unknown CPU'}, Node ${process.version}, with \`npm run bench:serve -- ${process.argv.slice(2).join(' ')}\`.\n`,
];
for (const bundle of options.bundle) {
  note(bundle);
  const rounds = await measureHop({
    bundle,
    variants: options.variants.split(','),
    rounds: Number(options.rounds),
    seconds: Number(options.seconds),
    connections: Number(options.connections),
    candidates: Number(options.candidates),
    seed: Number(options.seed),
    note,
  });
  parts.push(`## ${bundle}\n`, hopTable(rounds));
  if (options.out !== undefined)
    await writeFile(`${options.out}.json`, `${JSON.stringify(rounds, null, 2)}\n`);
}
const page = parts.join('\n');
if (options.out !== undefined) await writeFile(`${options.out}.md`, page);
process.stdout.write(page);
