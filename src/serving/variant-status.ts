import { must } from '../core/index.js';
import { readProcessStats } from '../runtime/index.js';
import type { Generation } from './generation.js';
import type { Ranker } from './ranker.js';
import type { Retriever } from './retriever.js';
import type { Traffic } from './traffic.js';
import type { RunnerStatus, VariantStatus } from './types.js';

/** Every served variant with its size, its runner, its traffic and its live fidelity. */
export function variantStatuses(
  { bundle, fleet, shadow }: Generation,
  traffic: Traffic,
): Promise<readonly VariantStatus[]> {
  return Promise.all(
    [...fleet.rankers].map(async ([name, ranker]) => {
      const { file, parent, recipe } = must(bundle.manifest.variants[name], `variant ${name}`);
      const { graphBytes, weightBytes } = must(bundle.models.get(file), `model ${file}`);
      const latency = traffic.latency(name);
      return {
        name,
        file,
        ...(parent === undefined ? {} : { parent }),
        ...(recipe === undefined ? {} : { recipe }),
        fileBytes: graphBytes,
        sharedWeightBytes: weightBytes,
        runner: await runnerStatus(ranker),
        requests: traffic.requests(name),
        ...(latency === undefined ? {} : { latency }),
        fidelity: shadow.fidelity(name),
        retention: shadow.retention(name),
      };
    }),
  );
}

/** State of a runner with what the operating system says of its process. */
export async function runnerStatus(runner: Ranker | Retriever): Promise<RunnerStatus> {
  const status = runner.status();
  const stats = status.pid === undefined ? undefined : await readProcessStats(status.pid);
  return { ...status, ...stats };
}
