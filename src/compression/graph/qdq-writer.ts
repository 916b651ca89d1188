import { float32, float32Data, must } from '../../core/index.js';
import { constantTensor, freshName, namesInUse } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import type { ActivationScale } from '../calibration/clipping.js';
import { eightBitValues } from './eight-bit-values.js';
import type { EightBitValue } from './eight-bit-values.js';
import { CONTRIB, GraphEdit } from './graph-edit.js';
import type { NodeWriter } from './graph-edit.js';
import { biasVector, convWeight, denseWeight, wholeBias } from './layer-constants.js';
import type { WeightFormat, WholeConstant } from './layer-constants.js';
import { behindRelu, isOutput, readersOf } from './readers.js';
import type { StaticLayer } from './static-layers.js';

/** What is to be quantized, and how. */
export interface QdqPlan extends WeightFormat {
  readonly layers: readonly StaticLayer[];
  /** By value: what the layers read, and what {@link eightBitValues} names. */
  readonly scales: ReadonlyMap<string, ActivationScale>;
  /** Layers whose input is a matrix. */
  readonly matrixInputs: ReadonlySet<StaticLayer>;
}

/** ai.onnx version in which DequantizeLinear got an axis; before, ONNX Runtime's own operator has one. */
const AXIS_OPSET = 13;
/** ai.onnx version from which a Gemm may go without a bias. */
const NO_BIAS_OPSET = 11;

/**
 * Writes layers with QuantizeLinear and DequantizeLinear around them, in the forms that ONNX Runtime 1.30 makes 8-bit
 * kernels of (each was found by looking at the optimized model):
 *
 * - A dense layer on a matrix, whose result only other quantized layers read (behind a Relu or not): Gemm with an int32
 *   bias, which becomes QGemm with an 8-bit result.
 * - Any other dense layer: MatMul, which becomes MatMulIntegerToFloat, and Sum for the bias. An Add there, or a Relu
 *   right behind, would be fused with the MatMul into a float32 Gemm that dequantizes its weights in every run.
 * - A convolution with an int32 bias and an 8-bit result, behind its Relu where it has one: QLinearConv.
 *
 */
export function writeQdq(
  model: Model,
  plan: QdqPlan,
): { model: Model; layers: ReadonlyMap<StaticLayer, WrittenLayer> } {
  const writer = new QdqWriter(model, plan);
  return { model: writer.write(), layers: writer.written() };
}

/** A layer as it was written. */
export interface WrittenLayer {
  /** Root mean square of the error of the weights over that of the weights. */
  readonly weightError: number;
  /** Its result in the model given: where 8 bits go on, that of a Relu behind it; with the bias. */
  readonly result: string;
  /** The same in the model written, as float32. */
  readonly writtenResult: string;
}

class QdqWriter {
  readonly #weightErrors = new Map<StaticLayer, number>();
  readonly #graph: Graph;
  readonly #edit: GraphEdit;
  readonly #plan: QdqPlan;
  readonly #domain: string;
  readonly #needsBias: boolean;
  readonly #names: Set<string>;
  readonly #stored: ReadonlyMap<string, EightBitValue>;
  /** Dequantized copies of what layers read, by the value's name. */
  readonly #inputs = new Map<string, string>();
  readonly #layerOf: ReadonlyMap<Node, StaticLayer>;

  constructor(model: Model, plan: QdqPlan) {
    this.#graph = model.graph;
    this.#edit = new GraphEdit(model);
    this.#plan = plan;
    const opset = model.opsets.get('') ?? 0;
    this.#domain = opset < AXIS_OPSET ? CONTRIB : '';
    this.#needsBias = opset < NO_BIAS_OPSET;
    this.#names = namesInUse(model.graph);
    this.#stored = eightBitValues(model.graph, plan.layers);
    this.#layerOf = new Map(plan.layers.map((layer) => [layer.node, layer]));
  }

  write(): Model {
    const storedBy = new Map([...this.#stored].map(([value, { node }]) => [node, value]));
    for (const node of this.#graph.nodes) {
      const layer = this.#layerOf.get(node);
      const value = storedBy.get(node);
      if (layer?.kind === 'dense') this.#writeDense(layer);
      else if (layer !== undefined) this.#writeConv(layer, value);
      else if (value !== undefined) {
        const nodes = this.#edit.writer(value);
        this.#writeStored(nodes, node, value);
        this.#edit.replace(node, nodes.nodes);
      }
    }
    return this.#edit.build();
  }

  /** The layers, after {@link write}. */
  written(): ReadonlyMap<StaticLayer, WrittenLayer> {
    const layers = [...this.#weightErrors].map(([layer, weightError]) => {
      const end = behindRelu(this.#graph, layer.output);
      const read = this.#stored.has(end) ? end : this.#inputs.get(end);
      const goesOn = layer.kind === 'conv' || this.#givesEightBits(layer);
      const [result, writtenResult] = goesOn ? [end, must(read, end)] : [layer.output, layer.output];
      return [layer, { weightError, result, writtenResult }] as const;
    });
    return new Map(layers);
  }

  #writeDense(layer: StaticLayer): void {
    const nodes = this.#edit.writer(layer.name);
    const input = this.#input(nodes, layer);
    const quantized = denseWeight(this.#graph, layer, this.#plan);
    this.#weightErrors.set(layer, quantized.relativeError);
    const weight = this.#dequantized(nodes, layer.weightName, quantized, 1);
    const bias = this.#givesEightBits(layer) ? this.#gemmBias(nodes, layer, quantized.scales) : undefined;
    if (bias === undefined) this.#writeFloatResult(nodes, layer, input, weight);
    else nodes.value('Gemm', [input, weight, ...bias], {}, layer.output);
    this.#edit.replace(layer.node, nodes.nodes);
    if (layer.biasNode !== undefined) this.#edit.replace(layer.biasNode, []);
  }

  /** The operand for the bias, none where there need be none; undefined where int32 cannot hold it. */
  #gemmBias(nodes: NodeWriter, layer: StaticLayer, scales: Float32Array): readonly string[] | undefined {
    if (layer.bias === undefined && !this.#needsBias) return [];
    const bias = layer.bias === undefined ? new Float32Array(layer.outputs) : biasVector(this.#graph, layer);
    const whole = bias === undefined ? undefined : wholeBias(bias, this.#scaleOf(layer).scale, scales);
    return whole === undefined ? undefined : [this.#dequantized(nodes, `${layer.name}/bias`, whole, 0)];
  }

  /** MatMul and Sum, also where there is no bias: of one value it is that value. */
  #writeFloatResult(nodes: NodeWriter, layer: StaticLayer, input: string, weight: string): void {
    const product = nodes.value('MatMul', [input, weight]);
    const { bias } = layer;
    if (bias === undefined) nodes.value('Sum', [product], {}, layer.output);
    else nodes.value('Sum', [product, this.#scaledBias(layer, bias)], {}, layer.output);
  }

  #scaledBias({ name }: StaticLayer, bias: { readonly name: string; readonly beta: number }): string {
    if (bias.beta === 1) return bias.name;
    const tensor = must(constantTensor(this.#graph, bias.name), 'bias');
    const data = float32Data(tensor).map((value) => bias.beta * value);
    return this.#edit.tensor(`${name}/bias`, float32(data, tensor.dims));
  }

  #writeConv(layer: StaticLayer, stored: string | undefined): void {
    const nodes = this.#edit.writer(layer.name);
    const input = this.#input(nodes, layer);
    const { scale } = this.#scaleOf(layer);
    const bias = biasVector(this.#graph, layer);
    const quantized = convWeight(this.#graph, layer, bias, scale, this.#plan);
    this.#weightErrors.set(layer, quantized.relativeError);
    const inputs = [input, this.#dequantized(nodes, layer.weightName, quantized, 0)];
    if (bias !== undefined) {
      const whole = must(wholeBias(bias, scale, quantized.scales), 'bias in int32');
      inputs.push(this.#dequantized(nodes, `${layer.name}/bias`, whole, 0));
    }
    const node = { ...layer.node, inputs };
    if (stored === undefined) nodes.nodes.push(node);
    else this.#writeStored(nodes, node, stored);
    this.#edit.replace(layer.node, nodes.nodes);
  }

  /** The node with its result quantized and dequantized again, under the name that the result had. */
  #writeStored(nodes: NodeWriter, node: Node, value: string): void {
    const real = freshName(this.#names, `${value}/real`);
    nodes.nodes.push({ ...node, outputs: [real, ...node.outputs.slice(1)] });
    this.#roundTrip(nodes, real, must(this.#stored.get(value), value).scaleOf, value);
  }

  /** The name under which a layer reads its input. */
  #input(nodes: NodeWriter, { input }: StaticLayer): string {
    if (this.#stored.has(input)) return input;
    const known = this.#inputs.get(input);
    if (known !== undefined) return known;
    const read = this.#roundTrip(nodes, input, input);
    this.#inputs.set(input, read);
    return read;
  }

  #scaleOf({ input }: StaticLayer): ActivationScale {
    return this.#scaleAt(this.#stored.get(input)?.scaleOf ?? input);
  }

  #scaleAt(value: string): ActivationScale {
    return must(this.#plan.scales.get(value), `scale of ${value}`);
  }

  /** QuantizeLinear and DequantizeLinear. */
  #roundTrip(nodes: NodeWriter, from: string, scaleOf: string, output?: string): string {
    const { scale, zeroPoint } = this.#scaleAt(scaleOf);
    const parameters = [
      this.#edit.sharedTensor(`${scaleOf}/scale`, float32(Float32Array.of(scale), [])),
      this.#edit.sharedTensor(`${scaleOf}/zero_point`, {
        dtype: 'uint8',
        dims: [],
        data: Uint8Array.of(zeroPoint),
      }),
    ];
    const stored = nodes.value('QuantizeLinear', [from, ...parameters], {}, undefined, this.#domain);
    return nodes.value('DequantizeLinear', [stored, ...parameters], {}, output, this.#domain);
  }

  /** A stored tensor with a scale, or one for each entry of an axis, and zero points of 0. */
  #dequantized(nodes: NodeWriter, base: string, { values, scales }: WholeConstant, axis: number): string {
    const single = scales.length === 1;
    const dims = single ? [] : [scales.length];
    const zeros = values.dtype === 'int32' ? new Int32Array(scales.length) : new Int8Array(scales.length);
    const inputs = [
      this.#edit.sharedTensor(`${base}/${values.dtype}`, values),
      this.#edit.sharedTensor(`${base}/scales`, float32(scales, dims)),
      this.#edit.sharedTensor(`${base}/zero_points`, { dtype: values.dtype, dims, data: zeros }),
    ];
    return nodes.value('DequantizeLinear', inputs, single ? {} : { axis }, undefined, this.#domain);
  }

  /** Whether ONNX Runtime can have the result in 8 bits: nothing but quantized layers read it, as their input. */
  #givesEightBits(layer: StaticLayer): boolean {
    if (!this.#plan.matrixInputs.has(layer)) return false;
    const end = behindRelu(this.#graph, layer.output);
    const readers = readersOf(this.#graph, end);
    const alone = readers.every((reader) => this.#layerOf.get(reader)?.input === end);
    return readers.length > 0 && alone && !isOutput(this.#graph, end);
  }
}
