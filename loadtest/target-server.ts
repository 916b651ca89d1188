import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  completeConfig,
  readConfig,
  readManifest,
  WhittleError,
  type BundleManifest,
} from '../src/core/index.js';
import { getJson, getText } from './http-client.js';
import type { LoadedEndpoint, LoadOptions } from './options.js';
import { loadedConfig } from './server-config.js';
import { startServer } from './server-process.js';

/**
 * Runs `work` with the origin of the server of `--url`, or of one that is started for it, with `arms` as the arms of an
 * experiment where there are some and none runs, and stopped after it, whatever happens. `interrupted` never resolves; when it rejects, so does this.
 *
 * @throws NOT_READY where the server is not, or ends meanwhile; what reading the configuration throws.
 */
export async function withServer<T>(
  options: LoadOptions,
  arms: readonly string[],
  interrupted: Promise<never>,
  work: (origin: string) => Promise<T>,
): Promise<T> {
  const { url } = options;
  if (url === undefined) return withStartedServer(options, arms, interrupted, work);
  await getText(url, '/readyz');
  return Promise.race([work(url), interrupted]);
}

async function withStartedServer<T>(
  { bundle, shadowShare, clientHeader, config: path }: LoadOptions,
  arms: readonly string[],
  interrupted: Promise<never>,
  work: (origin: string) => Promise<T>,
): Promise<T> {
  const base = path === undefined ? completeConfig({}) : await readConfig(path);
  const directory = await mkdtemp(join(tmpdir(), 'whittle-loadtest-'));
  try {
    const configFile = join(directory, 'config.json');
    const config = loadedConfig(base, { bundle, arms, shadowShare, clientHeader, directory });
    await writeFile(configFile, JSON.stringify(config));
    const server = await startServer(bundle, configFile, interrupted);
    try {
      return await Promise.race([server.during(work(server.url)), interrupted]);
    } finally {
      await server.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * The pipelines asked for, else all of the bundle that offer the endpoint, or those that the running server's arms
 * point at.
 *
 * @throws USAGE_INVALID for one that the bundle does not have, or where there is none; what reading the bundle throws.
 */
export async function pipelinesToLoad(options: LoadOptions): Promise<readonly string[]> {
  if (options.url === undefined) return pipelinesOfBundle(options);
  return options.pipelines ?? (await pipelinesOfArms(options.url));
}

async function pipelinesOfBundle({ bundle, mix, pipelines }: LoadOptions): Promise<readonly string[]> {
  const manifest = await readManifest(bundle);
  const endpoints = mix.map(({ endpoint }) => endpoint);
  const offered = Object.keys(manifest.pipelines).filter((name) =>
    endpoints.every((endpoint) => isLoadable(manifest, name, endpoint)),
  );
  const missing = pipelines?.find((name) => !offered.includes(name));
  if (missing !== undefined || offered.length === 0) {
    const reason =
      missing === undefined
        ? `no pipeline offers ${endpoints.join(' and ')}`
        : `${missing} does not offer ${endpoints.join(' and ')}`;
    throw unusablePipelines(`${reason} in ${bundle}; allowed: ${offered.join(', ') || 'none'}`, offered);
  }
  return pipelines ?? offered;
}

/** Searches are sent as text, which other retrievers do not take. */
function isLoadable(
  { pipelines, retrievers }: BundleManifest,
  pipeline: string,
  endpoint: LoadedEndpoint,
): boolean {
  if (endpoint === 'rank') return pipelines[pipeline]?.ranker !== undefined;
  const retriever = pipelines[pipeline]?.[endpoint];
  if (retriever === undefined) return false;
  return endpoint === 'recommend' || retrievers[retriever]?.kind === 'text';
}

async function pipelinesOfArms(origin: string): Promise<readonly string[]> {
  interface Experiment {
    readonly enabled: boolean;
    readonly arms: readonly { readonly pipeline: string }[];
  }
  const { experiments } = await getJson<{ experiments: readonly Experiment[] }>(origin, '/v1/experiments');
  const arms = experiments.find(({ enabled }) => enabled)?.arms ?? [];
  if (arms.length === 0)
    throw unusablePipelines(`${origin} runs no experiment whose arms name some: give --pipelines`, []);
  return [...new Set(arms.map(({ pipeline }) => pipeline))];
}

function unusablePipelines(reason: string, allowed: readonly string[]): WhittleError {
  return new WhittleError('USAGE_INVALID', `--pipelines: ${reason}`, { field: 'pipelines', allowed });
}
