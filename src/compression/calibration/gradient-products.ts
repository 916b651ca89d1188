import { must, WhittleError } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { GraphBuilder, probeShapes } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { backward, toDifferentiable } from '../../training/index.js';
import type { PassContext } from '../pass.js';
import { withTaps } from './tap-values.js';

/**
 * For each feed, the products `x · ∂L/∂x` of every element of the named values, row-major, with the loss `L` that needs
 * no labels: half the mean square of each float output, summed over the outputs. A product is, to first order, what
 * the loss changes by when the element becomes zero (Molchanov et al. 2019).
 * @throws GRADIENT_UNSUPPORTED naming the node without a rule; RECIPE_INVALID where no output is float32.
 */
export async function eachGradientProduct(
  model: Model,
  values: readonly string[],
  feeds: readonly TensorMap[],
  { openSession }: PassContext,
  take: (products: ReadonlyMap<string, Float32Array>) => void,
): Promise<void> {
  const [first = {}] = feeds;
  const forward = await withLoss(model, first, { openSession });
  const shapes = await probeShapes(forward.model, openSession, first, mostDifferent(feeds, first));
  const { model: gradients, gradients: named } = backward(forward.model, {
    loss: forward.loss,
    parameters: values,
    shapes,
  });
  const builder = GraphBuilder.from(gradients);
  const products = values.map((value) => {
    const gradient = must(named.get(value), value);
    return builder.op.Mul(value, gradient.kind === 'dense' ? gradient.value : '');
  });
  // Fusions of higher levels crash on some gradient graphs (ONNX Runtime 1.30).
  const open: PassContext['openSession'] = (path, options) =>
    openSession(path, { ...options, optimization: 'basic' });
  await withTaps(builder.build(), products, open, async (read) => {
    for (const feed of feeds) {
      const results = await read(feed);
      take(new Map(values.map((value, at) => [value, must(results.get(products[at] ?? ''), value)])));
    }
  });
}

async function withLoss(
  model: Model,
  feed: TensorMap,
  { openSession }: Pick<PassContext, 'openSession'>,
): Promise<{ model: Model; loss: string }> {
  const forward = toDifferentiable(model, []);
  const shapes = await probeShapes(model, openSession, feed);
  const outputs = model.graph.outputs.filter(({ name }) => shapes.get(name)?.dtype === 'float32');
  if (outputs.length === 0)
    throw new WhittleError('RECIPE_INVALID', 'importance "taylor" needs a model with a float32 output', {
      field: 'importance',
      value: 'taylor',
      allowed: ['repair', 'activation', 'magnitude'],
    });
  const builder = GraphBuilder.from(forward);
  const { op } = builder;
  const losses = outputs.map(({ name }) => op.Mul(op.ReduceMean(op.Mul(name, name), { keepdims: 0 }), 0.5));
  const loss = losses.reduce((sum, each) => op.Add(sum, each));
  return { model: builder.build(), loss };
}

/** A feed whose dimensions differ from the first one's in as many places as can be, so that none is taken as fixed. */
function mostDifferent(feeds: readonly TensorMap[], first: TensorMap): TensorMap {
  const distance = (feed: TensorMap): number =>
    Object.entries(feed).reduce(
      (sum, [name, { dims }]) => sum + dims.filter((dim, axis) => dim !== first[name]?.dims[axis]).length,
      0,
    );
  return feeds.reduce((best, feed) => (distance(feed) > distance(best) ? feed : best), first);
}
