import { must } from '../core/index.js';
import type { Generation } from './generation.js';
import { runnerStatus } from './runner-status.js';
import type { Traffic } from './traffic.js';
import type { VariantStatus } from './types.js';

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
        runner: await runnerStatus(ranker, bundle.directory),
        requests: traffic.requests(name),
        ...(latency === undefined ? {} : { latency }),
        fidelity: shadow.fidelity(name),
        retention: shadow.retention(name),
      };
    }),
  );
}
