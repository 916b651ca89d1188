import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { completeConfig, readManifest, silentLog, WhittleError } from '../core/index.js';
import {
  createDemoWorld,
  readDataset,
  type Dataset,
  type DemoWorldOptions,
  type JudgedQuery,
} from '../data/index.js';
import { measureRelevance, rankUnseen, type UserRelevance } from '../evaluation/index.js';
import { openEngine, type BundleEngine } from '../serving/index.js';
import { recordedMapping } from './bundles/column-mapping.js';
import { cutDataset, parseProtocol, type Cut, type Protocol } from './bundles/protocol.js';
import { temporaryFolder } from './bundles/temporary-folder.js';
import { floorScorers } from './evaluation/floors.js';
import {
  renderReport,
  summarise,
  type EvaluationReport,
  type RelevanceSummary,
} from './evaluation/report.js';
import { measureRunTimes, TIMED_ROWS } from './evaluation/run-times.js';
import {
  LIST_LENGTH,
  servedRecommendations,
  servedSearches,
  type Rankings,
} from './evaluation/served-rankings.js';
import { segmentRows } from './evaluation/segment-rows.js';
import { variantRows, type MeasuredPipelines } from './evaluation/variant-rows.js';
import { createOutput, type Output } from './output.js';

interface EvaluateOptions {
  readonly data?: string;
  readonly out?: string;
  readonly floors: boolean;
  readonly search: boolean;
  readonly json?: boolean;
}

/** What one evaluation works on. */
interface Evaluation {
  readonly engine: BundleEngine;
  readonly dataset: Dataset;
  readonly cut: Cut;
  readonly protocol: Protocol;
  readonly output: Output;
}

/** `whittle evaluate`: relevance, retention, fidelity, size and speed of what a bundle serves. */
export function evaluateCommand(program: Command): void {
  program
    .command('evaluate')
    .summary('judge what a bundle serves: relevance, fidelity, bytes and µs of every variant')
    .description(
      'Sends the held-out part of the data through the served pipelines and judges the answers, next to the floors (popularity, item-kNN, EASE) by the same code. Then sizes and times every variant.',
    )
    .argument('<bundle>', 'folder of the bundle')
    .option('--data <dataset>', 'the data set the bundle was trained on; not needed for a demo bundle')
    .option('--out <file>', 'also write the report: <file>.md and <file>.json')
    .option('--no-floors', 'leave the floors out (EASE takes up to a minute)')
    .option('--no-search', 'leave the judged queries out')
    .option('--json', 'print the report as JSON (docs/evaluate.md)')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle evaluate models/movielens --data ../data/movielens-latest-small\n  $ whittle evaluate models/demo --no-floors --json\n',
    )
    .action((bundle: string, options: EvaluateOptions) => evaluate(bundle, options));
}

async function evaluate(bundle: string, options: EvaluateOptions): Promise<void> {
  const output = createOutput(options.json ?? false);
  const dataset = await readJudged(bundle, options.data);
  const report = await temporaryFolder(async (folder) => {
    const config = completeConfig({
      bundle,
      store: { path: folder },
      cache: { maxEntries: 0 },
      shadow: { share: 0 },
      server: { deadlineMs: 120_000 },
      runners: { hangTimeoutMs: 120_000 },
      // Every request is answered, however long that takes.
      overload: { adaptive: false },
    });
    const engine = await openEngine({ config, log: silentLog });
    try {
      return await evaluateEngine(bundle, engine, dataset, options, output);
    } finally {
      await engine.close();
    }
  });
  if (options.out !== undefined) {
    await writeFile(`${options.out}.md`, renderReport(report));
    await writeFile(`${options.out}.json`, `${JSON.stringify(report, null, 2)}\n`);
  }
  output.result(report, renderReport(report));
}

async function evaluateEngine(
  bundle: string,
  engine: BundleEngine,
  dataset: Dataset,
  { floors, search: withSearch }: EvaluateOptions,
  output: Output,
): Promise<EvaluationReport> {
  const { manifest } = engine.bundle;
  checkSameItems(engine, dataset);
  const protocol = parseProtocol(String(manifest.provenance['protocol']));
  const evaluation = { engine, dataset, cut: cutDataset(dataset, protocol), protocol, output };
  const measured = await measurePipelines(evaluation);
  const recommend = [...measured.relevance].map(([name, relevance]) => summarise(name, relevance));
  if (floors && recommend.length > 0) recommend.push(...measureFloors(evaluation));
  const search = withSearch ? await measureSearch(evaluation) : [];
  const statuses = await engine.variants();
  const hasFull = measured.rankings.has('full') && statuses.length > 0;
  if (hasFull) output.note('timing runs');
  return {
    bundle,
    dataset: dataset.name,
    protocol,
    recommend,
    search,
    variants: hasFull
      ? await variantRows(bundle, manifest, measured, statuses, await measureRunTimes(bundle, manifest))
      : [],
    segments: segmentRows(measured.rankings, evaluation.cut, dataset.catalogue.ids.length),
    timedRows: TIMED_ROWS,
    indexRecall: indexRecall(engine),
  };
}

/** The data that the bundle was trained on, read as it was then; a demo's shop is generated again. */
async function readJudged(bundle: string, path: string | undefined): Promise<Dataset> {
  const { provenance } = await readManifest(bundle);
  if (path !== undefined) return readDataset(path, recordedMapping(provenance));
  const { world } = provenance;
  if (world !== undefined) return createDemoWorld(world as DemoWorldOptions).dataset;
  throw new WhittleError(
    'USAGE_INVALID',
    `--data is missing: name the data set that ${bundle} was trained on`,
    { field: 'data' },
  );
}

/** A bundle's rows must be the data's items, else the held-out part was not held out from it. */
function checkSameItems({ bundle }: BundleEngine, { catalogue, name }: Dataset): void {
  const { ids } = bundle.catalogue;
  if (ids.length === catalogue.ids.length && ids.every((id, row) => id === catalogue.ids[row])) return;
  throw new WhittleError('DATASET_INVALID', `${name} is not the data set of this bundle: its items differ`, {
    field: 'data',
    items: { bundle: ids.length, data: catalogue.ids.length },
  });
}

/** Every pipeline that recommends, asked for every judged user; users are places in the lists. */
async function measurePipelines({ engine, dataset, cut, output }: Evaluation): Promise<MeasuredPipelines> {
  const rankings = new Map<string, Rankings>();
  const relevance = new Map<string, UserRelevance>();
  if (cut.targets.every((held) => held.length === 0)) return { rankings, relevance };
  for (const [name, { recommend }] of engine.fleet.pipelines) {
    if (recommend === undefined) continue;
    const progress = output.progress(`recommend, ${name}`);
    const lists = await servedRecommendations(engine, dataset, cut, name, progress);
    progress.end();
    rankings.set(name, lists);
    relevance.set(name, measureRelevance(lists, cut.targets));
  }
  return { rankings, relevance };
}

function measureFloors({ dataset, cut, protocol, output }: Evaluation): RelevanceSummary[] {
  const items = dataset.catalogue.ids.length;
  return floorScorers(cut, items, protocol).map(([name, makeScorer]) => {
    output.note(name);
    return summarise(name, measureRelevance(rankUnseen(makeScorer(), cut, items, LIST_LENGTH), cut.targets));
  });
}

/** Queries that judge: the part held out where the data names one, else all. */
function judgingQueries({ queries }: Dataset): JudgedQuery[] {
  const held = queries.filter(({ split }) => split === 'validation' || split === 'test');
  return held.length > 0 ? held : [...queries];
}

async function measureSearch({ engine, dataset, cut, output }: Evaluation): Promise<RelevanceSummary[]> {
  const queries = judgingQueries(dataset);
  if (queries.length === 0) return [];
  const rows: RelevanceSummary[] = [];
  for (const [name, { search }] of engine.fleet.pipelines) {
    if (search === undefined) continue;
    const progress = output.progress(`search, ${name}`);
    const lists = await servedSearches(engine, dataset, cut, queries, name, progress);
    progress.end();
    rows.push(
      summarise(
        name,
        measureRelevance(
          lists,
          queries.map(({ relevant }) => relevant),
        ),
      ),
    );
  }
  return rows;
}

function indexRecall({ bundle }: BundleEngine): EvaluationReport['indexRecall'] {
  const entries = Object.entries(bundle.manifest.retrievers).flatMap(([name, retriever]) =>
    retriever.kind !== 'text' && retriever.index.recall !== undefined
      ? [[name, retriever.index.recall] as const]
      : [],
  );
  return Object.fromEntries(entries);
}
