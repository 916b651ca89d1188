import type { Command } from 'commander';
import { parseRecipe, readRecipe, type Recipe } from '../compression/index.js';
import { createDemoWorld } from '../data/index.js';
import { compressVariant } from './compress/compress-bundle.js';
import { parseCount, parseWholeNumber } from './options.js';
import { createOutput } from './output.js';
import { trainBundle } from './train.js';

interface DemoOptions {
  readonly out: string;
  readonly items: number;
  readonly users: number;
  readonly interactions: number;
  readonly seed: number;
  readonly json?: boolean;
}

/** `whittle demo`: a made-up shop of any size, trained, compressed and ready to be served. */
export function demoCommand(program: Command): void {
  program
    .command('demo')
    .summary('build a demo bundle from a made-up shop')
    .description(
      'Generates a shop and its customers from a seed, trains on them and makes the int8, pruned and lowrank variants.',
    )
    .option('--out <folder>', 'where to write the bundle', 'models/demo')
    .option('--items <count>', 'items of the shop', parseCount, 5_000)
    .option('--users <count>', 'customers', parseCount, 20_000)
    .option('--interactions <count>', 'mean number of clicks a customer', parseCount, 30)
    .option('--seed <seed>', 'same seed and sizes: the same bundle, bit for bit', parseWholeNumber, 1)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle demo\n  $ whittle demo --items 500 --users 1000 --out models/small\n',
    )
    .action((options: DemoOptions) => buildDemo(options));
}

async function buildDemo({ out, items, users, interactions, seed, json }: DemoOptions): Promise<void> {
  const output = createOutput(json ?? false);
  const world = { items, users, interactionsPerUser: interactions, seed };
  const { dataset } = createDemoWorld(world);
  // The made-up shop has no seasons, and short histories: its files stay small.
  const settings = {
    seed,
    dimensions: 32,
    maxLength: 50,
    periods: 1,
    epochs: 3,
    rankerExamples: 20_000,
    hidden: [1024, 768, 256],
    threads: 2,
  };
  await trainBundle(out, dataset, 'last-item', settings, { dataset: 'demo', world }, output);
  for (const [name, recipe] of Object.entries(await demoRecipes())) {
    output.note(`making variant ${name}`);
    await compressVariant(out, { name, from: 'full', recipe, seed }, output);
  }
  output.result({ bundle: out, world }, `${out}: full, int8, pruned and lowrank are ready`);
}

/** Low rank below its default, because the bundle is part of the repository. */
async function demoRecipes(): Promise<Readonly<Record<string, Recipe>>> {
  return {
    int8: await readRecipe('int8'),
    pruned: await readRecipe('pruned'),
    lowrank: parseRecipe([{ pass: 'low-rank', multiplyAddShare: 0.3 }]),
  };
}
