import { Option, type Command } from 'commander';
import { createBundle, type CreateOptions } from './create/create-bundle.js';
import { describeCreated } from './create/describe-created.js';
import { parseCount } from './options.js';
import { createOutput } from './output.js';

type CommandOptions = CreateOptions & { readonly json?: boolean };

/** `whittle bundle create`: a bundle of a model that was trained elsewhere. */
export function bundleCommand(program: Command): void {
  const bundle = program.command('bundle').summary('make a bundle of your own model');
  bundle
    .command('create')
    .summary('make a bundle of an ONNX model and items')
    .description(
      'Reads what the model takes, proposes where each input comes from, and checks the bundle with one real request before it is put in its place. Asks only about what cannot be inferred.',
    )
    .requiredOption('--model <file>', 'ONNX model that scores rows of items')
    .option('--items <file>', 'catalogue: CSV, TSV, JSONL (gzip too) or Parquet')
    .option('--vectors <file>', 'one vector an item, in the order of the items: raw float32 or .npy')
    .requiredOption('--out <folder>', 'where to write the bundle, for example models/mine')
    .option('--name <name>', 'name of the bundle (default: the folder’s)')
    .option('--id-column <column>', 'column of the items’ ids (default: known by its name)')
    .option('--title-column <column>', 'column of the items’ titles (default: known by its name)')
    .option('--text-columns <columns>', 'text to search by, names joined by commas', splitNames)
    .option(
      '--bind <input=source...>',
      'source of an input: request:FIELD, history:LENGTH, candidate, column:NAME, vectors, retrieval, request_index',
    )
    .option('--output <name>', 'output with the scores, where the model has several')
    .addOption(
      new Option('--metric <metric>', 'closeness of vectors').choices(['cosine', 'dot']).default('cosine'),
    )
    .option('--candidates <count>', 'items retrieved and ranked a request', parseCount, 200)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle bundle create --model ranker.onnx --items items.csv --out models/mine\n  $ whittle bundle create --model similarity.onnx --vectors items.f32 --out models/mine --bind query=request:query_vector document=vectors\n',
    )
    .action((options: CommandOptions) => create(options));
}

async function create({ json, ...options }: CommandOptions): Promise<void> {
  const output = createOutput(json ?? false);
  output.note(`${options.out}: making the bundle and answering one request with it`);
  const created = await createBundle(options);
  output.result(created, describeCreated(created));
}

function splitNames(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}
