import { basename } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { readDataset, type Dataset } from '../data/index.js';
import { openSession } from '../runtime/index.js';
import { cutDataset, defaultProtocol, parseProtocol, type Cut } from './bundles/protocol.js';
import { trainModels, type TrainSettings } from './bundles/train-models.js';
import { writeBundle } from './bundles/write-bundle.js';
import { parseMapping } from './bundles/column-mapping.js';
import { parseCount, parseWholeNumber } from './options.js';
import { createOutput, type Output } from './output.js';

interface TrainOptions {
  readonly out: string;
  readonly holdOut?: string;
  readonly seed: number;
  readonly epochs?: number;
  readonly dimensions: number;
  readonly periods: number;
  readonly rankerExamples: number;
  readonly hidden: readonly number[];
  readonly threads: number;
  readonly map?: string[];
  readonly json?: boolean;
}

/** `whittle train`: from a data set to a bundle that can be served. */
export function trainCommand(program: Command): void {
  program
    .command('train')
    .summary('train a retriever and a ranker on a data set and write a bundle')
    .description(
      'Reads CSV, TSV, JSONL (gzip too) or Parquet, or a folder in the MovieLens, Online Retail or BEIR layout; trains a two-tower retriever and a DCN-v2 ranker; writes a bundle.',
    )
    .argument('<dataset>', 'file or folder')
    .requiredOption('--out <folder>', 'where to write the bundle, for example models/movielens')
    .option(
      '--hold-out <protocol>',
      'what to keep back for `evaluate`: last-item, last-basket or none (default: last-basket where the data has baskets, else last-item)',
    )
    .option(
      '--map <column=name...>',
      'columns of a single file: user=…, item=…, time=…, rating=…, quantity=…, query=…, text=…',
    )
    .option('--seed <seed>', 'same data, seed and threads: same weights', parseWholeNumber, 1)
    .option('--epochs <count>', 'passes of the retriever over the data (default: by its size)', parseCount)
    .option('--dimensions <count>', 'width of item and user vectors', parseDimensions, 64)
    .option(
      '--periods <count>',
      'periods of time that are told apart; 1 where seasons do not matter',
      parseCount,
      64,
    )
    .option('--ranker-examples <count>', 'decisions the ranker learns from', parseCount, 20_000)
    .option(
      '--hidden <widths>',
      'widths of the ranker’s hidden layers, joined by commas',
      parseWidths,
      [1024, 512, 256],
    )
    .option('--threads <count>', 'threads of the training', parseCount, 2)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle train ../data/movielens-latest-small --out models/movielens\n  $ whittle train events.csv --map user=customer item=sku time=ts --out models/shop\n',
    )
    .action((dataset: string, options: TrainOptions) => train(dataset, options));
}

async function train(path: string, options: TrainOptions): Promise<void> {
  const output = createOutput(options.json ?? false);
  const startedAt = performance.now();
  const mapping = parseMapping(options.map);
  const dataset = await readDataset(path, mapping);
  const protocol = options.holdOut === undefined ? defaultProtocol(dataset) : parseProtocol(options.holdOut);
  await trainBundle(
    options.out,
    dataset,
    protocol,
    settingsOf(options, dataset),
    { dataset: dataset.name, ...(mapping === undefined ? {} : { mapping }) },
    output,
  );
  const seconds = (performance.now() - startedAt) / 1000;
  output.result(
    { bundle: options.out, protocol, seconds },
    `${options.out}: trained in ${seconds.toFixed(0)} s, held out: ${protocol}`,
  );
}

/** Trains on what the protocol leaves and writes the bundle. */
export async function trainBundle(
  out: string,
  dataset: Dataset,
  protocol: Parameters<typeof cutDataset>[1],
  settings: TrainSettings,
  source: Readonly<Record<string, unknown>>,
  output: Output,
): Promise<Cut> {
  const cut = cutDataset(dataset, protocol);
  const interactions = dataset.interactions.item.length;
  output.note(
    `${dataset.name}: ${dataset.catalogue.ids.length} items, ${dataset.users.length} users, ${interactions} interactions, ${dataset.queries.length} queries`,
  );
  const provenance = { ...source, protocol, settings };
  const content = { name: basename(out), dataset, cut, provenance };
  if (interactions === 0) await writeBundle(out, content, output);
  else
    await writeBundle(
      out,
      { ...content, models: await trainModels(dataset, cut, settings, openSession, output) },
      output,
    );
  return cut;
}

function settingsOf(options: TrainOptions, { interactions }: Dataset): TrainSettings {
  const { seed, dimensions, periods, rankerExamples, hidden, threads } = options;
  const epochs = options.epochs ?? defaultEpochs(interactions.item.length);
  return {
    seed,
    dimensions,
    maxLength: 100,
    periods,
    epochs,
    rankerExamples,
    hidden,
    threads,
  };
}

/** About two million predictions in all, three to twelve passes. */
export function defaultEpochs(interactions: number): number {
  return Math.max(3, Math.min(12, Math.round(2_000_000 / Math.max(1, interactions))));
}

function parseWidths(text: string): number[] {
  return text.split(',').map(parseCount);
}

/** The towers' attention has two heads. */
function parseDimensions(text: string): number {
  const dimensions = parseCount(text);
  if (dimensions % 2 !== 0) throw new InvalidArgumentError('It must be even.');
  return dimensions;
}
