import { elementCount, float32Data, must } from '../../core/index.js';
import type { Tensor } from '../../core/index.js';
import { constantInfo, constantTensor } from '../../onnx/index.js';
import type { Graph } from '../../onnx/index.js';
import { quantizeByRows } from '../kernels/conv-weight-kernel.js';
import { quantizeMatrix } from '../kernels/quantize-kernel.js';
import type { StaticLayer } from './static-layers.js';

/** How weights are stored in 8 bits. */
export interface WeightFormat {
  /** Largest 8-bit value of a weight. */
  readonly weightLimit: number;
  readonly perChannel: boolean;
}

/** A constant as whole numbers: `real ≈ values · scales`; one scale for all, or one an output. */
export interface WholeConstant {
  readonly values: Tensor;
  readonly scales: Float32Array;
}

export interface QuantizedWeight extends WholeConstant {
  /** Root mean square of the error over that of the weights. */
  readonly relativeError: number;
}

/** Largest bias in its own steps; half of what int32 holds, the other half is for the sum of products. */
const BIAS_LIMIT = 2 ** 30;

/** Weights of a dense layer, int8 `[inputs, outputs]`, with alpha in the scales. */
export function denseWeight(
  graph: Graph,
  { weightName, weightDims, weightTransposed, outputs, alpha }: StaticLayer,
  { weightLimit, perChannel }: WeightFormat,
): QuantizedWeight {
  const weight = float32Data(must(constantTensor(graph, weightName), 'weights'));
  const inputs = elementCount(weightDims) / outputs;
  const shape = { count: 1, inputs, outputs, transposed: weightTransposed };
  const { values, scales, relativeError } = quantizeMatrix(weight, shape, weightLimit, perChannel);
  return {
    values: { dtype: 'int8', dims: [inputs, outputs], data: values },
    scales: scales.map((scale) => alpha * scale),
    relativeError,
  };
}

/** Weights of a convolution, int8 as they are stored, in steps in which int32 holds `bias[outputs]` too. */
export function convWeight(
  graph: Graph,
  { weightName, weightDims, outputs }: StaticLayer,
  bias: Float32Array | undefined,
  inputScale: number,
  { weightLimit, perChannel }: WeightFormat,
): QuantizedWeight {
  const weight = float32Data(must(constantTensor(graph, weightName), 'weights'));
  const values = new Int8Array(weight.length);
  const scales = new Float32Array(outputs);
  const least = Float64Array.from(scales, (_, row) => Math.abs(bias?.[row] ?? 0) / (inputScale * BIAS_LIMIT));
  const relativeError = quantizeByRows(weight, outputs, weightLimit, perChannel, least, values, scales);
  const tensor: Tensor = { dtype: 'int8', dims: weightDims, data: values };
  return { values: tensor, scales: perChannel ? scales : scales.slice(0, 1), relativeError };
}

/** A layer's bias with beta, `[outputs]`; undefined where there is none, or it is no constant vector. */
export function biasVector(graph: Graph, { bias, outputs }: StaticLayer): Float32Array | undefined {
  const info = bias === undefined ? undefined : constantInfo(graph, bias.name);
  if (bias === undefined || info?.dtype !== 'float32') return undefined;
  const count = elementCount(info.dims);
  if (count !== 1 && (count !== outputs || info.dims.at(-1) !== outputs)) return undefined;
  const data = float32Data(must(constantTensor(graph, bias.name), 'bias'));
  return Float32Array.from({ length: outputs }, (_, at) => bias.beta * (data[at % count] ?? 0));
}

/**
 * `bias[outputs]` as int32 in steps of input scale × weight scale, which is what 8-bit kernels add; undefined where one
 * does not fit.
 */
export function wholeBias(
  bias: Float32Array,
  inputScale: number,
  weightScales: Float32Array,
): WholeConstant | undefined {
  const scales = weightScales.map((weightScale) => inputScale * weightScale);
  const values = new Int32Array(bias.length);
  for (const [at, value] of bias.entries()) {
    const steps = Math.round(value / (scales[at % scales.length] ?? 1));
    // A little more is let through: the scales that a convolution gets for its bias are rounded.
    if (!(Math.abs(steps) <= 1.01 * BIAS_LIMIT)) return undefined;
    values[at] = steps;
  }
  return { values: { dtype: 'int32', dims: [bias.length], data: values }, scales };
}
