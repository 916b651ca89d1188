import { join } from 'node:path';
import type { ExperimentConfig, ServerConfig } from '../src/core/index.js';

export interface LoadedServer {
  readonly bundle: string;
  /** Pipelines that become arms where no experiment runs; none where the server is to choose by itself. */
  readonly arms: readonly string[];
  /** Header that names the client. */
  readonly clientHeader: string;
  readonly shadowShare: number;
  /** Folder of what the server writes. */
  readonly directory: string;
}

/**
 * The configuration of a server that is there to be loaded: any free port of this machine, no answer cache (a repeated
 * user would measure the cache and not the model), a store and an audit log of its own, clients told apart by header.
 * Experiments that run stay; without any, the named pipelines become arms of equal weight.
 */
export function loadedConfig(base: ServerConfig, server: LoadedServer): ServerConfig {
  const running = base.experiments.some(({ enabled }) => enabled);
  return {
    ...base,
    bundle: server.bundle,
    server: {
      ...base.server,
      host: '127.0.0.1',
      port: 0,
      clients: { header: server.clientHeader, ...base.server.clients },
    },
    admin: { ...base.admin, port: 0, auditPath: join(server.directory, 'audit.jsonl') },
    store: { path: join(server.directory, 'store') },
    cache: { ...base.cache, maxEntries: 0 },
    shadow: { ...base.shadow, share: server.shadowShare },
    experiments: running || server.arms.length === 0 ? base.experiments : [equalArms(server.arms)],
  };
}

function equalArms(pipelines: readonly string[]): ExperimentConfig {
  const arms = pipelines.map((pipeline) => ({ name: pipeline, weight: 1, pipeline }));
  return { name: 'loadtest', salt: 'loadtest', enabled: true, arms };
}
