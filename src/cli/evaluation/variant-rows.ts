import { join } from 'node:path';
import { modelStats } from '../../compression/index.js';
import { must, type BundleManifest } from '../../core/index.js';
import { overlapAtK, retention, type UserRelevance } from '../../evaluation/index.js';
import { readModel, type Model } from '../../onnx/index.js';
import type { VariantStatus } from '../../serving/index.js';
import { meanInterval, meanStatistics } from '../../statistics/index.js';
import { summarise, type VariantRow } from './report.js';
import type { RunTimes } from './run-times.js';
import type { Rankings } from './served-rankings.js';

/** What was measured of the pipelines, by pipeline. */
export interface MeasuredPipelines {
  readonly rankings: ReadonlyMap<string, Rankings>;
  readonly relevance: ReadonlyMap<string, UserRelevance>;
}

/** One row a variant that has a pipeline of its name and is compared with full. */
export async function variantRows(
  directory: string,
  manifest: BundleManifest,
  { rankings, relevance }: MeasuredPipelines,
  statuses: readonly VariantStatus[],
  runTimes: RunTimes,
): Promise<VariantRow[]> {
  const models = new Map<string, Model>();
  for (const { name, file } of statuses) models.set(name, await readModel(join(directory, file)));
  const full = { lists: must(rankings.get('full'), 'full'), relevance: must(relevance.get('full'), 'full') };
  return statuses
    .filter(({ name }) => rankings.has(name) && manifest.variants[name] !== undefined)
    .map(({ name, fileBytes, runner }) => {
      const own = must(relevance.get(name), name);
      const lists = must(rankings.get(name), name);
      const overlaps = lists.map((list, place) => overlapAtK(list, must(full.lists[place], 'list'), 10));
      const weights = weightFiles(must(models.get(name), name));
      const others = [...models]
        .filter(([other]) => other !== name)
        .flatMap(([, model]) => [...weightFiles(model).keys()]);
      const shared = sum([...weights].filter(([path]) => others.includes(path)));
      return {
        name,
        ndcgAt10: must(summarise(name, own).metrics['NDCG@10'], 'NDCG@10'),
        retention: retention(own, full.relevance, 'NDCG@10'),
        overlapAt10: meanInterval(meanStatistics(overlaps)),
        ownBytes: fileBytes + sum([...weights]) - shared,
        sharedBytes: shared,
        ...(runner.privateBytes === undefined ? {} : { privateBytes: runner.privateBytes }),
        ...sizesOf(must(models.get(name), name)),
        runMicroseconds: must(runTimes.get(name), `run times of ${name}`),
      };
    });
}

function sizesOf(model: Model): Pick<VariantRow, 'denseWeights' | 'denseBytes' | 'tableBytes'> {
  const { denseWeights, denseBytes, tableBytes } = modelStats(model);
  return { denseWeights, denseBytes, tableBytes };
}

/** External weight files of a model with their bytes. */
function weightFiles({ graph }: Model): Map<string, number> {
  return new Map(
    [...graph.initializers.values()].flatMap(({ content }): [string, number][] =>
      content.kind === 'file' ? [[content.path, content.byteLength]] : [],
    ),
  );
}

function sum(sizes: readonly (readonly [string, number])[]): number {
  return sizes.reduce((total, [, bytes]) => total + bytes, 0);
}
