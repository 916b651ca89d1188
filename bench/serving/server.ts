import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startScript, stop } from './processes.js';

export interface BenchServer {
  readonly url: string;
  readonly pid: number;
}

/** What a benchmark changes of the configuration, by section. */
export type ConfigChanges = Readonly<Record<string, unknown>>;

/**
 * Runs `use` with a server of its own on a free port: no answer cache, no shadow, a store in a folder that is removed
 * afterwards, and objectives out of the way unless `changes` sets them.
 */
export async function withServer<T>(
  bundle: string,
  changes: ConfigChanges,
  use: (server: BenchServer) => Promise<T>,
  nodeFlags: readonly string[] = [],
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-bench-'));
  try {
    const config = join(folder, 'config.json');
    const settings = {
      cache: { maxEntries: 0 },
      shadow: { share: 0 },
      overload: { adaptive: false },
      store: { path: join(folder, 'store') },
    };
    await writeFile(config, JSON.stringify({ ...settings, ...changes }));
    const parameters = ['serve', bundle, '--config', config, '--port', '0', '--json', '--quiet'];
    const { child, ready } = await startScript<BenchServer>('src/cli/main.js', parameters, nodeFlags);
    try {
      return await use(ready);
    } finally {
      await stop(child);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
