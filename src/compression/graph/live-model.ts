import { removeUnused } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';

/**
 * The model without nodes that no output depends on, for passes that look for the layers again in what they wrote, where
 * such nodes are gone; the model itself where it has none.
 */
export function liveModel(model: Model): Model {
  const graph = removeUnused(model.graph);
  return graph.nodes.length === model.graph.nodes.length ? model : { ...model, graph };
}
