import { consumers, producers, subgraphsOf } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import { CONTRIB } from './graph-edit.js';
import { definingScope, scopesOf } from './scopes.js';
import type { Scope } from './scopes.js';

/** What a constant is for. */
export type WeightKind = 'table' | 'dense' | 'conv' | 'other';

/** Whether a constant holds the weights of its kind, or the scales and zero points that they are stored with. */
export type WeightRole = 'weights' | 'scales';

export interface WeightUse {
  readonly kind: WeightKind;
  readonly role: WeightRole;
}

interface Positions {
  readonly weights: readonly number[];
  readonly scales?: readonly number[];
}

/** Where operators have constant weights among their inputs. */
const WEIGHTS: Readonly<Record<Exclude<WeightKind, 'other'>, Readonly<Record<string, Positions>>>> = {
  table: {
    Gather: { weights: [0] },
    GatherElements: { weights: [0] },
    GatherND: { weights: [0] },
    GatherBlockQuantized: { weights: [0], scales: [2, 3] },
    EmbedLayerNormalization: { weights: [2, 3, 4] },
    QEmbedLayerNormalization: { weights: [2, 3, 4] },
  },
  dense: {
    MatMul: { weights: [0, 1] },
    Gemm: { weights: [0, 1] },
    Einsum: { weights: [0, 1, 2] },
    MatMulInteger: { weights: [0, 1], scales: [2, 3] },
    QLinearMatMul: { weights: [0, 3], scales: [1, 2, 4, 5, 6, 7] },
    FusedMatMul: { weights: [0, 1] },
    FusedGemm: { weights: [0, 1] },
    TransposeMatMul: { weights: [0, 1] },
    QGemm: { weights: [0, 3], scales: [1, 2, 4, 5, 7, 8] },
    MatMulIntegerToFloat: { weights: [0, 1], scales: [2, 3, 4, 5] },
    DynamicQuantizeMatMul: { weights: [1], scales: [2, 3] },
    MatMulNBits: { weights: [1], scales: [2, 3, 4] },
    MatMulBnb4: { weights: [1], scales: [2] },
    Attention: { weights: [1] },
    QAttention: { weights: [1], scales: [3, 4, 6, 7] },
    LongformerAttention: { weights: [1, 4] },
    DecoderMaskedSelfAttention: { weights: [1] },
  },
  conv: {
    Conv: { weights: [1] },
    ConvTranspose: { weights: [1] },
    ConvInteger: { weights: [1], scales: [2, 3] },
    QLinearConv: { weights: [3], scales: [1, 2, 4, 5, 6, 7] },
    FusedConv: { weights: [1] },
    NhwcFusedConv: { weights: [1] },
  },
};

/** Integer products, whose scales stand in a Mul behind them. */
const INTEGER_PRODUCTS = new Set(['MatMulInteger', 'ConvInteger']);
/** One that several read is of the first of these kinds. */
const ORDER: readonly WeightKind[] = ['table', 'dense', 'conv', 'other'];
const DOMAINS = new Set(['', CONTRIB]);

const OTHER: WeightUse = { kind: 'other', role: 'weights' };

/**
 * What a model's constants are for (initializers and outputs of Constant nodes, in all graphs): by the operators that
 * read them, also behind others that compute with constants alone, such as DequantizeLinear, Cast and Transpose. Scales
 * that a Mul brings behind an integer product are of the product's kind.
 */
export function weightUses(model: Model): (graph: Graph, name: string) => WeightUse {
  const uses = new UseMap();
  for (const scope of scopesOf(model))
    for (const node of scope.graph.nodes)
      for (const kind of ['table', 'dense', 'conv'] as const) {
        const positions = DOMAINS.has(node.domain) ? WEIGHTS[kind][node.op] : undefined;
        if (positions === undefined) continue;
        for (const role of ['weights', 'scales'] as const)
          for (const position of positions[role] ?? [])
            uses.mark(scope, node.inputs[position] ?? '', { kind, role });
        if (INTEGER_PRODUCTS.has(node.op)) markScales(uses, scope, node, kind);
      }
  return (graph, name) => uses.useOf(graph, name);
}

class UseMap {
  readonly #uses = new Map<Graph, Map<string, WeightUse>>();
  readonly #constant = new Map<Graph, Map<string, boolean>>();

  useOf(graph: Graph, name: string): WeightUse {
    return this.#uses.get(graph)?.get(name) ?? OTHER;
  }

  /** Says what the constants behind a value are for; does nothing where there is more than constants behind it. */
  mark(scope: Scope, name: string, use: WeightUse): void {
    if (!this.isConstant(scope, name)) return;
    const home = definingScope(scope, name);
    const node = home.graph.initializers.has(name) ? undefined : producers(home.graph).get(name);
    node?.inputs.forEach((input, position) => {
      const scales = node.op === 'DequantizeLinear' && position > 0;
      if (input !== '') this.mark(home, input, scales ? { ...use, role: 'scales' } : use);
    });
    if (ORDER.indexOf(use.kind) >= ORDER.indexOf(this.useOf(home.graph, name).kind)) return;
    const known = this.#uses.get(home.graph) ?? new Map<string, WeightUse>();
    this.#uses.set(home.graph, known.set(name, use));
  }

  /** Whether a value is a constant, or computed from constants alone. */
  isConstant(scope: Scope, name: string): boolean {
    const home = definingScope(scope, name);
    const { graph } = home;
    const known = this.#constant.get(graph) ?? new Map<string, boolean>();
    this.#constant.set(graph, known);
    const answer = known.get(name);
    if (answer !== undefined) return answer;
    // A ring in a broken graph ends here.
    known.set(name, false);
    const node = producers(graph).get(name);
    const constant = graph.initializers.has(name) || (node !== undefined && this.#isFolded(home, node));
    known.set(name, constant);
    return constant;
  }

  #isFolded(scope: Scope, node: Node): boolean {
    if (node.op === 'Constant') return true;
    const inputs = node.inputs.filter((input) => input !== '');
    return (
      inputs.length > 0 &&
      subgraphsOf(node).length === 0 &&
      inputs.every((input) => this.isConstant(scope, input))
    );
  }
}

/** Marks what the product is multiplied with: `Mul(Cast(product), Mul(input scale, weight scales))` and the like. */
function markScales(uses: UseMap, scope: Scope, product: Node, kind: WeightKind): void {
  const readers = consumers(scope.graph);
  const producerOf = producers(scope.graph);
  for (let value = product.outputs[0] ?? ''; ;) {
    const [reader, ...others] = readers.get(value) ?? [];
    if (reader === undefined || others.length > 0 || (reader.op !== 'Cast' && reader.op !== 'Mul')) return;
    for (const factor of reader.inputs.filter((input) => input !== value)) {
      const node = producerOf.get(factor);
      for (const name of [factor, ...(node?.op === 'Mul' ? node.inputs : [])])
        uses.mark(scope, name, { kind, role: 'scales' });
    }
    value = reader.outputs[0] ?? '';
  }
}
