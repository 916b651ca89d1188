#!/usr/bin/env node
/**
 * What serving costs beyond the model: the CPU time of a request beside that of a bare loop of `run` on the same model
 * and rows, in turn (hop); where it goes (stages); how late the gateway's event loop runs beside long runs (lag).
 *
 *     npm run bench:serve -- --bundle models/demo --parts hop,stages --out serving.md
 */
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { must } from '../src/core/index.js';
import { measureHop } from './serving/hop.js';
import { measureLoopLag } from './serving/loop-lag.js';
import { measureStages } from './serving/stages.js';
import { hopTable, lagTable, stageTable } from './serving/tables.js';

const { values: options } = parseArgs({
  options: {
    bundle: { type: 'string', multiple: true, default: ['models/demo'] },
    variants: { type: 'string', default: 'full,int8' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '16' },
    candidates: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    parts: { type: 'string', default: 'hop,stages,lag' },
    out: { type: 'string' },
  },
});

const seconds = Number(options.seconds);
const connections = Number(options.connections);
const variants = options.variants.split(',');
const wanted = new Set(options.parts.split(','));

const note = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

async function hop(bundle: string): Promise<string> {
  const rounds = await measureHop({
    bundle,
    variants,
    rounds: Number(options.rounds),
    seconds,
    connections,
    candidates: Number(options.candidates),
    seed: Number(options.seed),
    note,
  });
  return `### CPU time of a request at \`/v1/rank\`, beside a bare loop of \`run\`\n\nMedian [least, most] of ${options.rounds} rounds.\n\n${hopTable(rounds)}`;
}

async function stages(bundle: string): Promise<string> {
  const sections: string[] = [];
  for (const path of ['/v1/recommend', '/v1/rank'] as const) {
    for (const pipeline of variants) {
      note(`stages of ${path}, ${pipeline}`);
      const costs = await measureStages({ bundle, pipeline, path, seconds, connections });
      sections.push(`### Where the time of \`${path}\` goes, ${pipeline}\n\n${stageTable(costs)}`);
    }
  }
  return sections.join('\n');
}

async function lag(bundle: string): Promise<string> {
  note('event loop while runs take long');
  const table = lagTable(await measureLoopLag(bundle, must(variants[0], 'variant'), 2 * seconds));
  return `### How late the gateway's event loop runs while runs are long\n\n${table}`;
}

const measured = { hop, stages, lag };
const sections = [
  `Measured on ${new Date().toISOString().slice(0, 10)} on ${cpus().length} cores of ${cpus()[0]?.model ?? 'an unknown CPU'}, Node ${process.version}, with \`npm run bench:serve -- ${process.argv.slice(2).join(' ')}\`.\n`,
];
for (const bundle of options.bundle) {
  note(bundle);
  sections.push(`## ${bundle}\n`);
  for (const [part, measure] of Object.entries(measured))
    if (wanted.has(part)) sections.push(await measure(bundle));
}
const page = sections.join('\n');
if (options.out !== undefined) await writeFile(options.out, page);
process.stdout.write(page);
