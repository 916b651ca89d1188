import type { Pass, PassDefinition } from '../pass.js';
import { PRUNE_SCHEMA, pruneGroups } from '../pruning/prune-groups.js';
import type { PruneParameters } from '../pruning/prune-groups.js';

export type PruneHeadsParameters = PruneParameters;

/**
 * Removes whole attention heads: their columns of the query, key and value projections, of one projection for all three
 * too, and their rows of the output projection, which is refitted by least squares. Heads are found by what the graph
 * does: a Reshape splits the projections' outputs and a batched MatMul multiplies the parts, so that any exporter's
 * spelling will do. Heads whose keys or values come from or go to the model's inputs and outputs are left.
 */
export function pruneHeads(parameters: PruneHeadsParameters = {}): Pass {
  return pruneGroups(
    {
      pass: 'prune-heads',
      unit: () => 'heads',
      refusal: ({ heads, stream }) => {
        if (!heads) return 'its neurons are no attention heads';
        return stream ? 'heads are summed with neurons of other layers' : undefined;
      },
    },
    parameters,
  );
}

/** As recipes name it. */
export const pruneHeadsPass: PassDefinition<PruneHeadsParameters> = {
  summary: 'Removes attention heads and refits the output projection: smaller and faster on every machine.',
  parameters: PRUNE_SCHEMA,
  create: pruneHeads,
};
