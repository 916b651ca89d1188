import type { Pass, PassDefinition } from '../pass.js';
import { PRUNE_SCHEMA, pruneGroups } from '../pruning/prune-groups.js';
import type { PruneParameters } from '../pruning/prune-groups.js';

export interface PruneStructuredParameters extends PruneParameters {
  /** Whether the widths of residual streams and the columns of tables are pruned too. Default false. */
  readonly residual?: boolean;
}

/**
 * Structured pruning: removes neurons of hidden dense layers, that is columns of the layers that write them and rows of
 * those that read them, and refits the latter by least squares. Handles MatMul and Gemm with constant float32 weights,
 * from opset 7 on, and between them elementwise operators (gated units too: what is multiplied goes together),
 * normalisations, and everything that moves neurons without mixing them. With `residual`, also widths that several
 * layers and tables share because their outputs are summed. Neurons that reach anything else are left.
 */
export function pruneStructured({ residual = false, ...parameters }: PruneStructuredParameters = {}): Pass {
  return pruneGroups(
    {
      pass: 'prune-structured',
      unit: ({ stream }) => (stream ? 'channels of a sum' : 'neurons'),
      refusal: ({ heads, stream }) => {
        if (heads) return 'its neurons are attention heads, which prune-heads removes';
        return stream && !residual
          ? 'its neurons are summed with those of other layers: set residual'
          : undefined;
      },
    },
    parameters,
  );
}

/** As recipes name it. */
export const pruneStructuredPass: PassDefinition<PruneStructuredParameters> = {
  summary:
    'Removes hidden neurons and refits what reads them by least squares: smaller and faster on every machine.',
  parameters: { ...PRUNE_SCHEMA, residual: { type: 'boolean' } },
  create: pruneStructured,
};
