import { float32, must } from '../../core/index.js';
import { consumers } from '../../onnx/index.js';
import type { Model, Node } from '../../onnx/index.js';
import type { Float64Products, Matrix } from '../calibration/float64-products.js';
import { layerName } from '../graph/dense-layers.js';
import type { GraphEdit } from '../graph/graph-edit.js';
import type { Lookup, LookupTable } from '../graph/lookups.js';
import { findMatrixProducts } from '../graph/matrix-products.js';
import type { MatrixProduct } from '../graph/matrix-products.js';
import { readElsewhere } from '../graph/other-readers.js';
import { writeProduct } from '../graph/product-writer.js';
import type { LayerChange } from '../pass.js';
import type { Factors } from './spectrum.js';
import { groupByWeight, weightMatrix } from './weight-group.js';
import type { WeightGroup } from './weight-group.js';

/** Writes tables as products. */
export class TableWriter {
  readonly #edit: GraphEdit;
  readonly #products: Float64Products;
  readonly #dense: ReadonlyMap<Node, MatrixProduct>;

  constructor(model: Model, edit: GraphEdit, products: Float64Products) {
    this.#edit = edit;
    this.#products = products;
    const found = findMatrixProducts(model, 0).products;
    this.#dense = new Map(found.map((product) => [product.node, product]));
  }

  /**
   * Looks rows up in `first[rows, rank]` and multiplies them with `second[rank, width]`, or has the dense layers that
   * alone read them do so with their weights.
   */
  async write(table: LookupTable, { first, second }: Factors, relativeError: number): Promise<LayerChange[]> {
    const { name, rows, width, lookups } = table;
    const rank = first.length / rows;
    const thin = this.#edit.tensor(`${name}/left`, float32(first, [rows, rank]));
    const groups = this.#mergeable(table);
    const merged = new Set(groups.flatMap(({ products }) => products.map(({ input }) => input)));
    const apart = lookups.filter(({ node }) => !merged.has(outputOf(node)));
    const right =
      apart.length === 0 ? '' : this.#edit.tensor(`${name}/right`, float32(second, [rank, width]));
    for (const lookup of lookups) this.#writeLookup(lookup, thin, apart.includes(lookup) ? right : undefined);
    const projection = { rows: rank, columns: width, data: Float64Array.from(second) };
    const layers: LayerChange[] = [];
    for (const group of groups) layers.push(...(await this.#mergeInto(group, projection, relativeError)));
    const change: LayerChange = {
      layer: name,
      change:
        apart.length === 0
          ? `${rows} × ${width} to ${rank} columns; the layers behind read those`
          : `${rows} × ${width} as ${rows} × ${rank} × ${width}`,
      weightsBefore: rows * width,
      weightsAfter: rank * (apart.length === 0 ? rows : rows + width),
      relativeError,
    };
    return [change, ...layers];
  }

  /** Weights that all rows of some lookups go into, and into nothing else, and that read nothing else. */
  #mergeable({ lookups, width }: LookupTable): WeightGroup[] {
    const candidates = lookups.flatMap((lookup) => this.#readersOf(lookup, width) ?? []);
    const fits = ({ products: [{ weightScope, weightName }] }: WeightGroup): boolean =>
      !readElsewhere(weightScope, weightName, new Set(candidates.map(({ node }) => node)));
    const groups = groupByWeight(candidates);
    // One weight that must stay keeps its lookup, and so every weight that reads that lookup, as they are.
    const stays = new Set<string>();
    let open = groups;
    for (;;) {
      const next = open.filter(
        (group) => fits(group) && group.products.every(({ input }) => !stays.has(input)),
      );
      if (next.length === open.length) return open;
      for (const group of open)
        if (!next.includes(group)) for (const { input } of group.products) stays.add(input);
      open = next;
    }
  }

  /** The dense layers that read the rows; undefined where something else does. */
  #readersOf({ node, scope }: Lookup, width: number): MatrixProduct[] | undefined {
    const output = outputOf(node);
    if (scope.graph.outputs.some(({ name }) => name === output)) return undefined;
    const readers = (consumers(scope.graph).get(output) ?? []).map((reader) => this.#dense.get(reader));
    const dense = readers.filter(
      (product): product is MatrixProduct =>
        product?.input === output &&
        product.inputs === width &&
        product.batch.length === 0 &&
        product.inputPerm === undefined &&
        product.bias?.name !== output,
    );
    return dense.length === readers.length ? dense : undefined;
  }

  #writeLookup({ node }: Lookup, thin: string, right: string | undefined): void {
    const nodes = this.#edit.writer(layerName(node));
    const output = outputOf(node);
    const inputs = [thin, ...node.inputs.slice(1)];
    const attributes = Object.fromEntries(node.attributes);
    if (right === undefined) {
      nodes.value(node.op, inputs, attributes, output);
      this.#edit.reshape(output);
    } else nodes.value('MatMul', [nodes.value(node.op, inputs, attributes), right], {}, output);
    this.#edit.replace(node, nodes.nodes);
  }

  async #mergeInto(group: WeightGroup, projection: Matrix, relativeError: number): Promise<LayerChange[]> {
    const { inputs, outputs, products } = group;
    const { rows: rank, data } = await this.#products.multiply(projection, weightMatrix(group));
    const weight = float32(Float32Array.from(data), [rank, outputs]);
    const name = this.#edit.tensor(`${products[0].weightName}/merged`, weight);
    return products.map((product) => {
      const nodes = this.#edit.writer(product.name);
      writeProduct(this.#edit, nodes, product, (output) =>
        nodes.value('MatMul', [product.input, name], {}, output),
      );
      return {
        layer: product.name,
        change: `${inputs} × ${outputs} to ${rank} × ${outputs}, with the table's second factor worked in`,
        weightsBefore: inputs * outputs,
        weightsAfter: rank * outputs,
        relativeError,
      };
    });
  }
}

function outputOf(node: Node): string {
  return must(node.outputs[0], 'output of a lookup');
}
