import { join } from 'node:path';
import type { ExperimentConfig, ServerConfig } from '../src/core/index.js';

export interface LoadedServer {
  readonly bundle: string;
  readonly pipelines: readonly string[];
  readonly shadowShare: number;
  /** Folder of what the server writes. */
  readonly directory: string;
}

/**
 * The configuration of a server that is there to be loaded: any free port of this machine, no answer cache (a repeated
 * user would measure the cache and not the model), and a store of its own. Experiments that run stay; without any, the
 * pipelines become arms of equal weight.
 */
export function loadedConfig(base: ServerConfig, server: LoadedServer): ServerConfig {
  const running = base.experiments.some(({ enabled }) => enabled);
  return {
    ...base,
    bundle: server.bundle,
    server: { ...base.server, host: '127.0.0.1', port: 0 },
    store: { path: join(server.directory, 'store') },
    cache: { ...base.cache, maxEntries: 0 },
    shadow: { ...base.shadow, share: server.shadowShare },
    experiments: running ? base.experiments : [equalArms(server.pipelines)],
  };
}

function equalArms(pipelines: readonly string[]): ExperimentConfig {
  const arms = pipelines.map((pipeline) => ({ name: pipeline, weight: 1, pipeline }));
  return { name: 'loadtest', salt: 'loadtest', enabled: true, arms };
}
