import type { Rule, RuleContext, Rules } from './rule.js';

/**
 * y = x̂·scale + bias with x̂ = (x − mean)·inverseStd over the axes from `axis` on:
 * dx = inverseStd·(g − mean(g) − x̂·mean(g·x̂)) with g = dy·scale (Ba, Kiros & Hinton 2016).
 */
const layerNormalization: Rule = (n) => {
  const { op, x, dy } = n;
  const scale = n.input(1);
  const axes = n.dims(x).flatMap((_, axis) => (axis >= n.axis(-1) ? [axis] : []));
  const dtype = n.shape(x).dtype;
  // ONNX Runtime keeps the statistics in float32, whatever the type of x.
  const mean = op.Cast(n.output(1), { to: dtype });
  const inverseStd = op.Cast(n.output(2), { to: dtype });
  const normalised = op.Mul(op.Sub(x, mean), inverseStd);
  const average = (value: string): string => op.ReduceMean(value, axes, { keepdims: 1 });
  return (input) => {
    if (input === 2) return n.sumTo(dy, n.y, n.input(2));
    if (input === 1) return n.sumTo(op.Mul(dy, normalised), n.y, scale);
    const g = op.Mul(dy, scale);
    const along = op.Mul(normalised, average(op.Mul(g, normalised)));
    return op.Mul(inverseStd, op.Sub(op.Sub(g, average(g)), along));
  };
};

/** With the stored statistics, which are constants: y = (x − mean)/√(variance + epsilon)·scale + bias by channel. */
const batchNormalization: Rule = (n) => {
  if (n.int('training_mode', 0) !== 0)
    throw n.unsupported('only stored statistics have a rule (training_mode 0)');
  const { op, x, dy } = n;
  const spatialAxes = n.dims(x).flatMap((_, axis) => (axis < 2 ? [] : [axis]));
  const otherAxes = [0, ...spatialAxes];
  const overChannels = (value: string): string =>
    spatialAxes.length > 0
      ? op.Unsqueeze(
          value,
          spatialAxes.map((axis) => axis - 1),
        )
      : value;
  const epsilon = n.float('epsilon', Math.fround(1e-5));
  const inverseStd = op.Reciprocal(op.Sqrt(op.Add(n.input(4), epsilon)));
  const perChannel = (value: string): string => op.ReduceSum(value, otherAxes, { keepdims: 0 });
  return (input) => {
    if (input === 0) return op.Mul(dy, overChannels(op.Mul(n.input(1), inverseStd)));
    if (input === 1) return op.Mul(inverseStd, perChannel(op.Mul(dy, op.Sub(x, overChannels(n.input(3))))));
    return input === 2 ? perChannel(dy) : undefined;
  };
};

/** x at inference; what the caller wants dropped in training is a mask that is fed. */
const dropout: Rule = (n: RuleContext) => {
  if (n.hasInput(2))
    throw n.unsupported('training_mode draws hidden random numbers: feed a mask and multiply');
  return (input) => (input === 0 ? n.dy : undefined);
};

export const NORMALISATION_RULES: Rules = {
  LayerNormalization: layerNormalization,
  BatchNormalization: batchNormalization,
  Dropout: dropout,
};
