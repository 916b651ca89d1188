import { must } from '../../core/index.js';
import { constantInfo, consumers } from '../../onnx/index.js';
import type { Graph, Node } from '../../onnx/index.js';
import { ChannelUnits } from './channel-units.js';
import type { Labels } from './channel-units.js';
import { layerName } from './dense-layers.js';
import type { DenseLayer } from './dense-layers.js';

/** The axis of a value that runs along channels, and the unit of each index. */
export interface Lane {
  readonly axis: number;
  readonly labels: Labels;
}

/** Where the graph holds something of the length of an axis. `node` is the first output of the node, which no cut renames. */
export type Use = {
  readonly node: string;
  readonly labels: Labels;
} & (
  | { readonly kind: 'columns' | 'rows' }
  /** A constant with channels along `axis`: which input of the node. */
  | { readonly kind: 'constant'; readonly input: number; readonly axis: number }
  /** The axis of a Reshape's output that has channels, or the axis whose length a Shape tells, among `rank`. */
  | { readonly kind: 'reshape' | 'shape'; readonly axis: number; readonly rank: number }
  /** Lengths of the parts; `labels` are those of the whole. */
  | { readonly kind: 'split'; readonly parts: readonly number[] }
  | { readonly kind: 'slice'; readonly start: number; readonly end: number }
);

/** Dense layers that read channels at one value. */
export interface ChannelReader {
  readonly value: string;
  readonly labels: Labels;
  readonly layers: readonly DenseLayer[];
}

/** Shapes as seen in a run. */
export type Shapes = ReadonlyMap<string, { readonly dims: readonly number[] }>;

/** What the rules of the operators share while channels are followed through a graph in its order. */
export class ChannelTrace {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly opset: number;
  readonly units = new ChannelUnits();
  readonly lanes = new Map<string, Lane>();
  /** Values of length 1 along the axis of a lane, computed from all its channels: means and variances. */
  readonly statistics = new Map<string, Lane>();
  readonly uses: Use[] = [];
  readonly #readers: ReadonlyMap<string, readonly Node[]>;

  constructor(graph: Graph, shapes: Shapes, opset: number) {
    this.graph = graph;
    this.shapes = shapes;
    this.opset = opset;
    this.#readers = consumers(graph);
  }

  readersOf(value: string): readonly Node[] {
    return this.#readers.get(value) ?? [];
  }

  isRead(value: string | undefined): boolean {
    if (value === undefined || value === '') return false;
    return this.readersOf(value).length > 0 || this.graph.outputs.some(({ name }) => name === value);
  }

  /** Dimensions in the run that was seen; undefined where the value was not. */
  dims(value: string | undefined): readonly number[] | undefined {
    return this.shapes.get(value ?? '')?.dims ?? constantInfo(this.graph, value ?? '')?.dims;
  }

  lane(value: string | undefined): Lane | undefined {
    return this.lanes.get(value ?? '');
  }

  setLane(value: string | undefined, axis: number, labels: Labels): void {
    if (value !== undefined && value !== '') this.lanes.set(value, { axis, labels });
  }

  /** Records a use at `node`. */
  use(use: Use): void {
    this.uses.push(use);
  }

  /** All channels that the node reads must stay; also those behind statistics. */
  refuse(node: Node, values: Iterable<string>, how = 'reads its neurons'): void {
    const reason = `${layerName(node)} (${node.op}) ${how}`;
    for (const value of values) {
      this.units.block(this.lane(value)?.labels ?? [], reason);
      this.units.block(this.statistics.get(value)?.labels ?? [], reason);
    }
  }
}

/** The node's first output, by which it is found again after a cut. */
export function keyOf(node: Node): string {
  return must(
    node.outputs.find((output) => output !== ''),
    `output of ${node.name}`,
  );
}
