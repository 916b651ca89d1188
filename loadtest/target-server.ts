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

/** A server that is ready, and the pipelines to load. */
export interface TargetServer {
  readonly origin: string;
  readonly pipelines: readonly string[];
}

/**
 * Runs `work` against the server of `--url`, or against one that is started for it and stopped after it, whatever
 * happens. `interrupted` never resolves; when it rejects, so does this.
 *
 * @throws USAGE_INVALID for a pipeline that is not there; NOT_READY where the server is not, or ends meanwhile; what
 *   reading the bundle and the configuration throws.
 */
export async function withServer<T>(
  options: LoadOptions,
  interrupted: Promise<never>,
  work: (server: TargetServer) => Promise<T>,
): Promise<T> {
  if (options.url === undefined) return withStartedServer(options, interrupted, work);
  const origin = options.url;
  await getText(origin, '/readyz');
  const pipelines = options.pipelines ?? (await pipelinesOfArms(origin));
  return Promise.race([work({ origin, pipelines }), interrupted]);
}

async function withStartedServer<T>(
  options: LoadOptions,
  interrupted: Promise<never>,
  work: (server: TargetServer) => Promise<T>,
): Promise<T> {
  const { bundle, shadowShare } = options;
  const base = options.config === undefined ? completeConfig({}) : await readConfig(options.config);
  const pipelines = await pipelinesOfBundle(options);
  const directory = await mkdtemp(join(tmpdir(), 'whittle-loadtest-'));
  try {
    const configFile = join(directory, 'config.json');
    const config = loadedConfig(base, { bundle, pipelines, shadowShare, directory });
    await writeFile(configFile, JSON.stringify(config));
    const server = await startServer(bundle, configFile, interrupted);
    try {
      return await Promise.race([work({ origin: server.url, pipelines }), server.ended, interrupted]);
    } finally {
      await server.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The pipelines asked for, else all that offer the endpoint. */
async function pipelinesOfBundle({ bundle, endpoint, pipelines }: LoadOptions): Promise<readonly string[]> {
  const manifest = await readManifest(bundle);
  const offered = Object.keys(manifest.pipelines).filter((name) => isLoadable(manifest, name, endpoint));
  const missing = pipelines?.find((name) => !offered.includes(name));
  if (missing !== undefined || offered.length === 0) {
    const reason =
      missing === undefined ? `no pipeline offers ${endpoint}` : `${missing} does not offer ${endpoint}`;
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
