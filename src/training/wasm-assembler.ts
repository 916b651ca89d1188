/**
 * A small assembler for WebAssembly functions over one imported memory. Instructions are written as nested calls, each
 * answering its bytes, operands first. Opcodes: WebAssembly Core Specification 2.0, section 5.4 and appendix A.7.
 */
export type Code = readonly number[];
export type ValueType = 'i32' | 'f32' | 'f64';

const TYPE_CODES: Readonly<Record<ValueType | 'v128', number>> = {
  i32: 0x7f,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** A parameter or local variable of a function. */
export interface Variable {
  readonly get: Code;
  set(value: Code): Code;
}

export interface WasmFunction {
  readonly name: string;
  readonly type: Code;
  readonly body: Code;
}

/** Names of the imports that {@link assemble} declares: `{ [MODULE]: { [MEMORY]: memory } }`. */
export const MEMORY_IMPORT = { module: 'environment', field: 'memory' } as const;

const END = 0x0b;
const EMPTY_BLOCK = 0x40;

/** LEB128 of a non-negative integer. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): Code {
  const bytes = [...new TextEncoder().encode(value)];
  return [...unsigned(bytes.length), ...bytes];
}

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}

/** Bytes of an instruction after those of its operands. */
type Instruction = (...operands: readonly Code[]) => Code;

const instruction =
  (...opcode: number[]): Instruction =>
  (...operands) => [...operands.flat(), ...opcode];

/** A SIMD opcode; after the prefix its number is LEB128. */
const simd = (opcode: number): Instruction => instruction(0xfd, ...unsigned(opcode));

/** No alignment is promised and no offset added: two zeros after a load or store. */
const memory = [0, 0];

/** One width of floating point arithmetic: the same formula is assembled for four lanes and for the rest. */
export interface Lanes {
  readonly bytes: number;
  readonly load: Instruction;
  /** Operands: address, value. */
  readonly store: Instruction;
  readonly add: Instruction;
  readonly sub: Instruction;
  readonly mul: Instruction;
  readonly div: Instruction;
  readonly sqrt: Instruction;
  /** An f32 in every lane. */
  readonly spread: Instruction;
}

export const f32x4: Lanes = {
  bytes: 16,
  load: instruction(0xfd, 0, ...memory),
  store: instruction(0xfd, 11, ...memory),
  add: simd(228),
  sub: simd(229),
  mul: simd(230),
  div: simd(231),
  sqrt: simd(227),
  spread: simd(19),
};

export const f32: Lanes = {
  bytes: 4,
  load: instruction(0x2a, ...memory),
  store: instruction(0x38, ...memory),
  add: instruction(0x92),
  sub: instruction(0x93),
  mul: instruction(0x94),
  div: instruction(0x95),
  sqrt: instruction(0x91),
  spread: instruction(),
};

export const f64 = { add: instruction(0xa0), mul: instruction(0xa2), promote: instruction(0xbb) };

export const i32 = {
  /** Constants up to 63, which LEB128 writes as they are. */
  constant: (value: number): Code => [0x41, value],
  add: instruction(0x6a),
  and: instruction(0x71),
  lessUnsigned: instruction(0x49),
};

/** Repeats `body` as long as `condition` is not 0 before it. */
export function whileLoop(condition: Code, body: Code): Code {
  const isZero = 0x45;
  const [block, loop, branch, branchIf] = [0x02, 0x03, 0x0c, 0x0d];
  const leave = [...condition, isZero, branchIf, 1];
  return [block, EMPTY_BLOCK, loop, EMPTY_BLOCK, ...leave, ...body, branch, 0, END, END];
}

/** A function whose `body` sees its parameters and locals by name. Locals start at 0. */
export function wasmFunction<P extends string, L extends string>(
  name: string,
  parameters: Readonly<Record<P, ValueType>>,
  locals: Readonly<Record<L, ValueType | 'v128'>>,
  results: readonly ValueType[],
  body: (variables: Readonly<Record<P | L, Variable>>) => Code,
): WasmFunction {
  const names = [...Object.keys(parameters), ...Object.keys(locals)];
  const variables = Object.fromEntries(names.map((key, index) => [key, variable(index)]));
  const codes = (types: readonly (ValueType | 'v128')[]): Code[] => types.map((type) => [TYPE_CODES[type]]);
  const localTypes = codes(Object.values(locals)).map((code) => [1, ...code]);
  const code = [...vector(localTypes), ...body(variables as Readonly<Record<P | L, Variable>>), END];
  return {
    name,
    type: [0x60, ...vector(codes(Object.values(parameters))), ...vector(codes(results))],
    body: [...unsigned(code.length), ...code],
  };
}

function variable(index: number): Variable {
  const [localGet, localSet] = [0x20, 0x21];
  return { get: [localGet, ...unsigned(index)], set: (value) => [...value, localSet, ...unsigned(index)] };
}

/** The bytes of a module that imports one memory and exports every function by its name. */
export function assemble(functions: readonly WasmFunction[]): Uint8Array {
  const [functionKind, memoryKind, noMaximum] = [0, 2, 0];
  const memoryImport = [
    ...text(MEMORY_IMPORT.module),
    ...text(MEMORY_IMPORT.field),
    memoryKind,
    noMaximum,
    1,
  ];
  const exported = functions.map(({ name }, index) => [...text(name), functionKind, ...unsigned(index)]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(functions.map(({ type }) => type))),
    ...section(2, vector([memoryImport])),
    ...section(3, vector(functions.map((_, index) => unsigned(index)))),
    ...section(7, vector(exported)),
    ...section(10, vector(functions.map(({ body }) => body))),
  ]);
}
