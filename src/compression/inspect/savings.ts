import type { Model } from '../../onnx/index.js';
import type { Shapes } from '../graph/channel-trace.js';
import {
  lowRank,
  prunedLayers,
  pruning,
  quantizedDynamic,
  quantizedStatic,
  sparse,
  weightOnly,
} from './layer-savings.js';
import { removableNodes } from './removable-nodes.js';
import { figuresOf, subjectOf, UNCHANGED } from './subject.js';
import type { Saving, Subject } from './subject.js';
import { factorised, merged, tables } from './table-savings.js';

/**
 * What every pass would save, as its short name sets it, or at its defaults where it has none.
 * @param shapes Of a run; undefined where the model did not run.
 */
export function estimateSavings(model: Model, shapes: Shapes | undefined): Saving[] {
  const subject = subjectOf(model, shapes);
  const pruned = shapes === undefined ? { neurons: [], heads: [] } : prunedLayers(subject, shapes);
  return [
    simplifying(subject),
    pruning(subject, 'heads', 'prune-heads', pruned.heads),
    pruning(subject, 'pruned', 'prune-structured', pruned.neurons),
    lowRank(subject),
    sparse(subject),
    tables(subject, 8),
    tables(subject, 4),
    factorised(subject),
    merged(subject),
    quantizedStatic(subject),
    quantizedDynamic(subject),
    weightOnly(subject, 8),
    weightOnly(subject, 4),
  ];
}
function simplifying(subject: Subject): Saving {
  const { nodes } = subject.model.graph;
  const takes = removableNodes(subject.model);
  const counts = {
    recipe: 'simplify',
    takes,
    of: nodes.length,
    unit: 'nodes',
    needsRequests: false,
  } as const;
  return { ...counts, pass: 'simplify', bytes: null, ...figuresOf(subject, []), timesFaster: UNCHANGED };
}
