import { cp, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, readManifest, writeManifest, type BundleManifest } from '../../src/core/index.js';

/** Two versions of a bundle that answer the same request differently, and the link that the server reads. */
export interface Versions {
  readonly link: string;
  /** Runner processes of each version. */
  readonly runners: number;
  /** A pipeline that ranks by a model that differs. */
  readonly pipeline: string;
  /** Points the link at version 0 or 1. */
  deploy(version: number): Promise<void>;
  remove(): Promise<void>;
}

/** Candidates of a request: what is measured is the swap, and the load must leave it a core of two. */
const CANDIDATES = 30;

/**
 * Copies of the bundle without its search and with few candidates. In the second the files of the last two variants have changed places, and an
 * item's title is its id: both model and catalogue of an answer can be told.
 */
export async function makeVersions(bundle: string): Promise<Versions> {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-swap-'));
  const link = join(folder, 'bundle');
  const first = reduced(await readManifest(bundle));
  for (const [version, manifest] of [first, changed(first)].entries()) {
    const directory = join(folder, String(version));
    await cp(bundle, directory, { recursive: true });
    const { files: _files, ...contents } = manifest;
    await writeManifest(directory, contents);
  }
  const deploy = async (version: number): Promise<void> => {
    await symlink(String(version), `${link}.next`);
    await rename(`${link}.next`, link);
  };
  await deploy(0);
  return {
    link,
    runners: Object.keys(first.variants).length + Object.keys(first.retrievers).length,
    pipeline: pipelineOf(first, lastVariants(first)[1]),
    deploy,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

function reduced(manifest: BundleManifest): BundleManifest {
  const recommending = Object.entries(manifest.pipelines).filter(
    ([, { recommend }]) => recommend !== undefined,
  );
  const pipelines = recommending.map(
    ([name, { search: _search, ...pipeline }]) => [name, { ...pipeline, candidates: CANDIDATES }] as const,
  );
  const used = new Set(pipelines.map(([, { recommend }]) => recommend));
  const retrievers = Object.entries(manifest.retrievers).filter(([name]) => used.has(name));
  return {
    ...manifest,
    pipelines: Object.fromEntries(pipelines),
    retrievers: Object.fromEntries(retrievers),
  };
}

function changed(manifest: BundleManifest): BundleManifest {
  const { variants, catalogue } = manifest;
  const [one, other] = lastVariants(manifest);
  const [first, second] = [must(variants[one], one), must(variants[other], other)];
  return {
    ...manifest,
    catalogue: { ...catalogue, titleColumn: catalogue.idColumn },
    variants: {
      ...variants,
      [one]: { ...first, file: second.file },
      [other]: { ...second, file: first.file },
    },
  };
}

function lastVariants({ variants }: BundleManifest): [string, string] {
  const [one, other] = Object.keys(variants).slice(-2);
  if (one === undefined || other === undefined) throw new Error('The bundle needs two variants');
  return [one, other];
}

function pipelineOf({ pipelines }: BundleManifest, variant: string): string {
  const found = Object.entries(pipelines).find(([, { ranker }]) => ranker === variant);
  return must(found, `pipeline of ${variant}`)[0];
}
