import type { DataType } from '../core/index.js';

/**
 * A model as plain data. Passes see only these objects; protobuf stays in the codec. Whatever the codec does not
 * model (unknown fields, documentation strings, sparse tensors) rides along in `preserved` and is written back.
 */
export type Preserved = Readonly<{ opaque: unknown }>;

export interface Model {
  readonly irVersion: bigint;
  /** Operator set version by domain; '' is ai.onnx. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: Graph;
  readonly metadata: ReadonlyMap<string, string>;
  readonly preserved?: Preserved;
}

export interface Graph {
  readonly name: string;
  /** As written in the file: before IR 4 initializers are listed here too. Use `modelInputs` for what a caller feeds. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly valueInfos: readonly ValueInfo[];
  readonly initializers: ReadonlyMap<string, Initializer>;
  readonly nodes: readonly Node[];
  readonly preserved?: Preserved;
}

export interface ValueInfo {
  readonly name: string;
  /** Undefined for sequences, maps and optionals, whose type is in `preserved`. */
  readonly dtype: DataType | undefined;
  /** A dynamic dimension is its name, or '' where it has none; undefined means the rank is unknown. */
  readonly dims: readonly (number | string)[] | undefined;
  readonly preserved?: Preserved;
}

export interface Node {
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  /** '' marks an optional input or output that is absent. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly preserved?: Preserved;
}

export type Attribute = AttributeContent & { readonly preserved?: Preserved };

type AttributeContent =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'string'; readonly value: Uint8Array }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly bigint[] }
  | { readonly kind: 'strings'; readonly value: readonly Uint8Array[] }
  | { readonly kind: 'tensor'; readonly value: Initializer }
  | { readonly kind: 'tensors'; readonly value: readonly Initializer[] }
  | { readonly kind: 'graph'; readonly value: Graph }
  | { readonly kind: 'graphs'; readonly value: readonly Graph[] }
  | { readonly kind: 'opaque'; readonly preserved: Preserved };

/** A constant tensor. `dims` in elements; bytes are little-endian, row-major, int4 packed two to a byte. */
export interface Initializer {
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly content: TensorContent;
  readonly preserved?: Preserved;
}

export type TensorContent =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'strings'; readonly values: readonly Uint8Array[] }
  | FileContent;

/** Values that are read from a file only when they are asked for. */
export interface FileContent {
  readonly kind: 'file';
  /** Absolute, without symbolic links. */
  readonly path: string;
  readonly offset: number;
  readonly byteLength: number;
  /** Which file it was when the model was read ({@link fileVersion}): another's bytes are refused. Not checked if absent. */
  readonly version?: string;
}
