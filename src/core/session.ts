import type { DataType, Tensor } from './tensor.js';

/** Name, element type and shape of a model's input or output; a dynamic dimension is its name. */
export interface ValueSpec {
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly (number | string)[];
}

export type TensorMap = Readonly<Record<string, Tensor>>;

/** A loaded model. `run` is synchronous native code: it blocks the calling thread until it is done. */
export interface Session {
  readonly inputs: readonly ValueSpec[];
  readonly outputs: readonly ValueSpec[];
  /**
   * Runs the model. `fetches` names the outputs wanted (default: all); a name mapped to a tensor has its result
   * written into that tensor's buffer, which the caller owns and must then read itself.
   */
  run(
    feeds: TensorMap,
    fetches?: readonly string[] | Readonly<Record<string, Tensor | null>>,
  ): Promise<TensorMap>;
  release(): Promise<void>;
}

export interface SessionOptions {
  /** Threads inside one operator; default 1. */
  readonly threads?: number;
  /** Graph optimization level; default 'all'. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'all';
  /**
   * Whether weights of MatMul and Gemm are copied into the layout that multiplies fastest; default true. Without, weights
   * in files are read where they are mapped, which takes less memory and loads at once.
   */
  readonly prepacking?: boolean;
  /**
   * Count numbers below 1e-38 as zero: masked attention is full of them, and the processor takes a hundred times as
   * long for each. It holds for the whole process, and the first session of a process decides: for processes that do
   * little but run models. Default false.
   */
  readonly flushDenormals?: boolean;
  /** Where to write the model as ONNX Runtime will run it: shows which nodes it fused. Default nowhere. */
  readonly optimizedModelPath?: string;
}

/** Opens a model from its bytes or its path (needed where weights are external). Injected into layers below `runtime`. */
export type OpenSession = (model: Uint8Array | string, options?: SessionOptions) => Promise<Session>;
