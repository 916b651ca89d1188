import { assemble, f32, f32x4, f64, i32, MEMORY_IMPORT, wasmFunction, whileLoop } from './wasm-assembler.js';
import type { Code, Lanes, Variable, WasmFunction } from './wasm-assembler.js';
import { webAssembly } from './webassembly.js';
import type { WasmMemory } from './webassembly.js';

/** Numeric kernels over one memory. Addresses and lengths are in bytes; lengths are multiples of 4. */
export interface Kernels {
  /**
   * One step of Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019), element by element:
   * `g' = g·gradientScale; m = β₁m + β̄₁g'; v = β₂v + β̄₂g'²; w = w·keep − stepSize·m / (√v·correction + epsilon)`
   * with β̄ = 1 − β, stepSize = rate / (1 − β₁ᵗ), correction = 1 / √(1 − β₂ᵗ), keep = 1 − rate·decay.
   */
  adam(
    weights: number,
    gradient: number,
    firstMoment: number,
    secondMoment: number,
    bytes: number,
    gradientScale: number,
    beta1: number,
    oneMinusBeta1: number,
    beta2: number,
    oneMinusBeta2: number,
    keep: number,
    stepSize: number,
    correction: number,
    epsilon: number,
  ): void;
  /** target += source */
  add(target: number, source: number, bytes: number): void;
  /** target *= source */
  multiply(target: number, source: number, bytes: number): void;
  /** Sum of squares in double precision, in order. */
  sumOfSquares(source: number, bytes: number): number;
}

/** Runs `body` for every four lanes, then for each value that is left. `at` is the byte offset. */
function forEachLane(at: Variable, bytes: Variable, body: (lanes: Lanes) => Code): Code {
  const loop = (lanes: Lanes, limit: Code): Code =>
    whileLoop(i32.lessUnsigned(at.get, limit), [
      ...body(lanes),
      ...at.set(i32.add(at.get, i32.constant(lanes.bytes))),
    ]);
  const wholeBlocks = i32.and(bytes.get, [0x41, 0x70]); // & −16
  return [...loop(f32x4, wholeBlocks), ...loop(f32, bytes.get)];
}

const adam = wasmFunction(
  'adam',
  {
    weights: 'i32',
    gradient: 'i32',
    firstMoment: 'i32',
    secondMoment: 'i32',
    bytes: 'i32',
    gradientScale: 'f32',
    beta1: 'f32',
    oneMinusBeta1: 'f32',
    beta2: 'f32',
    oneMinusBeta2: 'f32',
    keep: 'f32',
    stepSize: 'f32',
    correction: 'f32',
    epsilon: 'f32',
  },
  { at: 'i32', g4: 'v128', m4: 'v128', v4: 'v128', g1: 'f32', m1: 'f32', v1: 'f32' },
  [],
  (x) =>
    forEachLane(x.at, x.bytes, (lanes) => {
      const [g, m, v] = lanes === f32 ? [x.g1, x.m1, x.v1] : [x.g4, x.m4, x.v4];
      const address = (base: Variable): Code => i32.add(base.get, x.at.get);
      const scalar = (value: Variable): Code => lanes.spread(value.get);
      const { load, store, add, sub, mul, div, sqrt } = lanes;
      const decayed = (moment: Variable, beta: Variable, share: Variable, value: Code): Code =>
        add(mul(load(address(moment)), scalar(beta)), mul(value, scalar(share)));
      const denominator = add(mul(sqrt(v.get), scalar(x.correction)), scalar(x.epsilon));
      const move = div(mul(m.get, scalar(x.stepSize)), denominator);
      return [
        ...g.set(mul(load(address(x.gradient)), scalar(x.gradientScale))),
        ...m.set(decayed(x.firstMoment, x.beta1, x.oneMinusBeta1, g.get)),
        ...v.set(decayed(x.secondMoment, x.beta2, x.oneMinusBeta2, mul(g.get, g.get))),
        ...store(address(x.firstMoment), m.get),
        ...store(address(x.secondMoment), v.get),
        ...store(address(x.weights), sub(mul(load(address(x.weights)), scalar(x.keep)), move)),
      ];
    }),
);

function combine(name: 'add' | 'multiply', operation: 'add' | 'mul'): WasmFunction {
  return wasmFunction(name, { target: 'i32', source: 'i32', bytes: 'i32' }, { at: 'i32' }, [], (x) =>
    forEachLane(x.at, x.bytes, (lanes) => {
      const target = i32.add(x.target.get, x.at.get);
      const source = i32.add(x.source.get, x.at.get);
      return lanes.store(target, lanes[operation](lanes.load(target), lanes.load(source)));
    }),
  );
}

const sumOfSquares = wasmFunction(
  'sumOfSquares',
  { source: 'i32', bytes: 'i32' },
  { at: 'i32', value: 'f64', sum: 'f64' },
  ['f64'],
  (x) => [
    ...whileLoop(i32.lessUnsigned(x.at.get, x.bytes.get), [
      ...x.value.set(f64.promote(f32.load(i32.add(x.source.get, x.at.get)))),
      ...x.sum.set(f64.add(x.sum.get, f64.mul(x.value.get, x.value.get))),
      ...x.at.set(i32.add(x.at.get, i32.constant(f32.bytes))),
    ]),
    ...x.sum.get,
  ],
);

/** Compiles the kernels for a memory; they stay valid when it grows. */
export function createKernels(memory: WasmMemory): Kernels {
  const bytes = assemble([adam, combine('add', 'add'), combine('multiply', 'mul'), sumOfSquares]);
  const imports = { [MEMORY_IMPORT.module]: { [MEMORY_IMPORT.field]: memory } };
  return new webAssembly.Instance(new webAssembly.Module(bytes), imports).exports as Kernels;
}
