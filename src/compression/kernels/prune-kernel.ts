import {
  addScaledRow,
  choleskyInPlace,
  dot,
  multiply,
  solveLower,
  solveLowerTransposed,
} from './linear-algebra-kernel.js';

/** A dense layer (or several with one input, side by side) that loses inputs, as the choice of units sees it. */
export interface Elimination {
  /** `[inputs, inputs]`, the inverse of the damped second moment of the inputs; may be overwritten. */
  readonly inverse: Float64Array;
  /** `[inputs, outputs]`; may be overwritten. */
  readonly weight: Float64Array;
  readonly inputs: number;
  readonly outputs: number;
  /** The inputs of each unit. */
  readonly rows: readonly Int32Array[];
  /** Factor of its costs: one over the energy of its outputs, so that layers compare. */
  readonly scale: number;
}

/** Units in the order in which they go, with what each loss cost when it was taken. */
export interface RemovalOrder {
  readonly units: readonly number[];
  readonly costs: readonly number[];
}

/**
 * Removes `count` of `unitCount` units one by one, each time the one whose loss costs all layers together least after
 * their other inputs' weights have been refitted: a unit with the inputs `B` costs `tr(W_Bᵀ (H_BB)⁻¹ W_B)` with
 * `H = (XᵀX + λI)⁻¹`, and its part is taken over by `W ← W − H_·B (H_BB)⁻¹ W_B` (Optimal Brain Surgeon, Hassibi and
 * Stork 1993, for groups of rows in place of single weights). Ties go to the earlier unit.
 */
export function eliminationOrder(
  layers: readonly Elimination[],
  unitCount: number,
  count: number,
): RemovalOrder {
  const states = layers.map((layer) =>
    layer.rows.every((rows) => rows.length <= 1)
      ? new RowElimination(layer, count)
      : new BlockElimination(layer),
  );
  const gone = new Uint8Array(unitCount);
  const units: number[] = [];
  const costs: number[] = [];
  while (units.length < count) {
    let [cheapest, least] = [-1, Infinity];
    for (let unit = 0; unit < unitCount; unit++) {
      if (gone[unit] === 1) continue;
      let cost = 0;
      for (const state of states) cost += state.cost(unit);
      if (cheapest !== -1 && !(cost < least)) continue;
      cheapest = unit;
      least = cost;
    }
    gone[cheapest] = 1;
    units.push(cheapest);
    costs.push(least);
    for (const state of states) state.remove(cheapest);
  }
  return { units, costs };
}

/** A layer whose units have several inputs each: its inverse and weights are brought up to date after each removal. */
class BlockElimination {
  readonly #layer: Elimination;

  constructor(layer: Elimination) {
    this.#layer = layer;
  }

  cost(unit: number): number {
    return unitCost([this.#layer], unit);
  }

  remove(unit: number): void {
    for (const row of this.#layer.rows[unit] as Int32Array) takeOver(this.#layer, row);
  }
}

/**
 * A layer whose units have one input each, several times faster: removals are the pivots of a Cholesky factor `L` of the
 * inverse, and of what is left only the diagonal and the squares of the weight rows are kept, `w_i − Σ_k L_ik y_k` with
 * `y_k = w_k / √(H_kk)` at the time when `k` went.
 */
class RowElimination {
  readonly #layer: Elimination;
  readonly #count: number;
  readonly #diagonal: Float64Array;
  readonly #squares: Float64Array;
  readonly #factor: Float64Array;
  readonly #parts: Float64Array;
  readonly #gone: Uint8Array;
  #steps = 0;

  constructor(layer: Elimination, count: number) {
    const { inverse, weight, inputs, outputs } = layer;
    this.#layer = layer;
    this.#count = count;
    this.#diagonal = new Float64Array(inputs);
    this.#squares = new Float64Array(inputs);
    for (let i = 0; i < inputs; i++) {
      this.#diagonal[i] = inverse[i * inputs + i] as number;
      this.#squares[i] = dot(weight, i * outputs, weight, i * outputs, outputs);
    }
    this.#factor = new Float64Array(inputs * count);
    this.#parts = new Float64Array(count * outputs);
    this.#gone = new Uint8Array(inputs);
  }

  cost(unit: number): number {
    const row = this.#layer.rows[unit]?.[0];
    if (row === undefined) return 0;
    return (this.#layer.scale * Math.max(0, this.#squares[row] as number)) / (this.#diagonal[row] as number);
  }

  remove(unit: number): void {
    const pivot = this.#layer.rows[unit]?.[0];
    if (pivot === undefined) return;
    const { inverse, weight, inputs, outputs } = this.#layer;
    const [factor, parts, count, steps] = [this.#factor, this.#parts, this.#count, this.#steps];
    const root = Math.sqrt(this.#diagonal[pivot] as number);
    const at = steps * outputs;
    parts.set(weight.subarray(pivot * outputs, (pivot + 1) * outputs), at);
    for (let k = 0; k < steps; k++)
      addScaledRow(parts, k * outputs, -(factor[pivot * count + k] as number), parts, at, outputs);
    for (let c = at; c < at + outputs; c++) parts[c] = (parts[c] as number) / root;
    const products = new Float64Array(steps);
    for (let k = 0; k < steps; k++) products[k] = dot(parts, k * outputs, parts, at, outputs);
    const square = dot(parts, at, parts, at, outputs);
    this.#gone[pivot] = 1;
    for (let i = 0; i < inputs; i++) {
      if (this.#gone[i] === 1) continue;
      const mixed = dot(factor, i * count, factor, pivot * count, steps);
      const entry = ((inverse[i * inputs + pivot] as number) - mixed) / root;
      const along = dot(weight, i * outputs, parts, at, outputs) - dot(factor, i * count, products, 0, steps);
      this.#squares[i] = (this.#squares[i] as number) - entry * (2 * along - entry * square);
      this.#diagonal[i] = (this.#diagonal[i] as number) - entry * entry;
      factor[i * count + steps] = entry;
    }
    this.#steps = steps + 1;
  }
}

/** What the loss of one unit costs all layers together. */
export function unitCost(layers: readonly Elimination[], unit: number): number {
  let cost = 0;
  for (const layer of layers) cost += layer.scale * rowsCost(layer, layer.rows[unit] as Int32Array);
  return cost;
}

function rowsCost({ inverse, weight, inputs, outputs }: Elimination, rows: Int32Array): number {
  if (rows.length === 1) {
    const row = rows[0] as number;
    return (
      dot(weight, row * outputs, weight, row * outputs, outputs) / (inverse[row * inputs + row] as number)
    );
  }
  const n = rows.length;
  const block = new Float64Array(n * n);
  const part = new Float64Array(n * outputs);
  for (let i = 0; i < n; i++) {
    const row = rows[i] as number;
    for (let j = 0; j < n; j++) block[i * n + j] = inverse[row * inputs + (rows[j] as number)] as number;
    part.set(weight.subarray(row * outputs, (row + 1) * outputs), i * outputs);
  }
  if (!choleskyInPlace(block, n)) return Infinity;
  solveLower(block, part, n, outputs);
  return dot(part, 0, part, 0, part.length);
}

/** Refits all other rows for the loss of row `gone`, and takes it out of the inverse. */
function takeOver({ inverse, weight, inputs, outputs }: Elimination, gone: number): void {
  const pivot = inverse[gone * inputs + gone] as number;
  for (let j = 0; j < inputs; j++) {
    const factor = (inverse[j * inputs + gone] as number) / pivot;
    if (j === gone || factor === 0) continue;
    for (let c = 0; c < outputs; c++)
      weight[j * outputs + c] =
        (weight[j * outputs + c] as number) - factor * (weight[gone * outputs + c] as number);
    for (let c = 0; c < inputs; c++)
      inverse[j * inputs + c] =
        (inverse[j * inputs + c] as number) - factor * (inverse[gone * inputs + c] as number);
    // Exactly zero, so that rounding cannot bring the row back.
    inverse[j * inputs + gone] = 0;
  }
  weight.fill(0, gone * outputs, (gone + 1) * outputs);
  inverse.fill(0, gone * inputs, (gone + 1) * inputs);
}

/** Second moments of a layer's inputs as they were and as they are now, and its weights as they were. */
export interface RefitProblem {
  /** `ZᵀZ [width, width]` over rows `z` that hold both; only read. */
  readonly moment: Float64Array;
  readonly width: number;
  /** Where in `z` the inputs as they were are found, and the inputs as they are now. */
  readonly before: Int32Array;
  readonly after: Int32Array;
  /** `[before.length, outputs]`. */
  readonly weight: Float64Array;
  readonly outputs: number;
}

/**
 * `[after.length, outputs]`, the least-squares fit `argmin |X' W' − X W|² + λ |W' − start|²` with
 * `λ = ridge · mean diagonal of XᵀX`. Undefined where the moment is not finite.
 */
export function refitWeights(
  problem: RefitProblem,
  start: Float64Array,
  ridge: number,
): Float64Array | undefined {
  const { before, after, weight, outputs } = problem;
  const lambda = ridge * (meanDiagonal(problem) || 1);
  const inner = block(problem, after, after);
  for (let i = 0; i < after.length; i++)
    inner[i * after.length + i] = (inner[i * after.length + i] as number) + lambda;
  const fitted = new Float64Array(after.length * outputs);
  multiply(block(problem, after, before), weight, fitted, after.length, before.length, outputs);
  for (let at = 0; at < fitted.length; at++)
    fitted[at] = (fitted[at] as number) + lambda * (start[at] as number);
  if (!choleskyInPlace(inner, after.length)) return undefined;
  solveLower(inner, fitted, after.length, outputs);
  solveLowerTransposed(inner, fitted, after.length, outputs);
  return fitted;
}

/** Root mean square of `X' W' − X W` over that of `X W`; 0 where that is zero. */
export function outputChange(problem: RefitProblem, fitted: Float64Array): number {
  const { before, after, weight } = problem;
  const total = bilinear(problem, before, weight, before, weight);
  if (total === 0) return 0;
  const change =
    total -
    2 * bilinear(problem, after, fitted, before, weight) +
    bilinear(problem, after, fitted, after, fitted);
  return Math.sqrt(Math.max(0, change) / total);
}

/** `tr(Aᵀ M[left, right] B)`. */
function bilinear(
  problem: RefitProblem,
  left: Int32Array,
  a: Float64Array,
  right: Int32Array,
  b: Float64Array,
): number {
  const product = new Float64Array(left.length * problem.outputs);
  multiply(block(problem, left, right), b, product, left.length, right.length, problem.outputs);
  return dot(a, 0, product, 0, product.length);
}

function meanDiagonal({ moment, width, before }: RefitProblem): number {
  let sum = 0;
  for (const index of before) sum += moment[index * (width + 1)] as number;
  return sum / before.length;
}

/** `M[rows, columns]`, a copy. */
function block({ moment, width }: RefitProblem, rows: Int32Array, columns: Int32Array): Float64Array {
  return submatrix(moment, width, rows, columns);
}

/** `a[rows, columns]` of a matrix with `width` columns, a copy. */
export function submatrix(
  a: Float64Array,
  width: number,
  rows: Int32Array,
  columns: Int32Array,
): Float64Array {
  const out = new Float64Array(rows.length * columns.length);
  for (let i = 0; i < rows.length; i++) {
    const from = (rows[i] as number) * width;
    for (let j = 0; j < columns.length; j++)
      out[i * columns.length + j] = a[from + (columns[j] as number)] as number;
  }
  return out;
}

/** `|X W|²` for `gram = XᵀX [inputs, inputs]` and `weight[inputs, outputs]`. */
export function energyOf(gram: Float64Array, weight: Float64Array, inputs: number, outputs: number): number {
  const product = new Float64Array(inputs * outputs);
  multiply(gram, weight, product, inputs, inputs, outputs);
  return dot(weight, 0, product, 0, inputs * outputs);
}

/** Adds to `sums` the sum of squares of each column of `a[rows, columns]`. */
export function addColumnSquares(a: Float64Array, columns: number, sums: Float64Array): void {
  for (let at = 0; at < a.length; at += columns)
    for (let j = 0; j < columns; j++) sums[j] = (sums[j] as number) + (a[at + j] as number) ** 2;
}

/**
 * Adds to `scores` the size `|Σ x g|` of each row's product of activations and gradients, given as `products[rows,
 * width]`; the sum runs over the columns of one unit. `unitOf` says which unit a column is of, negative for none.
 */
export function addTaylorScores(
  products: Float32Array,
  width: number,
  unitOf: Int32Array,
  scores: Float64Array,
): void {
  const sums = new Float64Array(scores.length);
  for (let at = 0; at < products.length; at += width) {
    sums.fill(0);
    for (let j = 0; j < width; j++) {
      const unit = unitOf[j] as number;
      if (unit >= 0) sums[unit] = (sums[unit] as number) + (products[at + j] as number);
    }
    for (let unit = 0; unit < sums.length; unit++)
      scores[unit] = (scores[unit] as number) + Math.abs(sums[unit] as number);
  }
}

/** The slices `kept` of a tensor `source` of shape `dims` along an axis, a copy. */
export function takeAlong(
  source: Float32Array,
  dims: readonly number[],
  axis: number,
  kept: Int32Array,
): Float32Array {
  let inner = 1;
  for (let at = axis + 1; at < dims.length; at++) inner *= dims[at] as number;
  const length = dims[axis] as number;
  const outer = source.length / (length * inner);
  const out = new Float32Array(outer * kept.length * inner);
  for (let i = 0; i < outer; i++)
    for (let j = 0; j < kept.length; j++) {
      const from = (i * length + (kept[j] as number)) * inner;
      if (inner === 1) out[i * kept.length + j] = source[from] as number;
      else out.set(source.subarray(from, from + inner), (i * kept.length + j) * inner);
    }
  return out;
}
