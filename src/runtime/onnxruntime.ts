import * as ort from 'onnxruntime-node';
import { WhittleError } from '../core/index.js';
import type { OpenSession, Session, SessionOptions, Tensor, TensorMap, ValueSpec } from '../core/index.js';

// The one place that imports onnxruntime-node: everything else gets an injected `OpenSession`.

/**
 * Opens a model in this process on the CPU, one thread unless told otherwise. Tensors go in and out without a copy: a
 * feed's buffer must not change until `run` settles. Outputs that are sequences or maps are not listed and cannot be
 * fetched.
 * @throws MODEL_INVALID when ONNX Runtime cannot load or run the model; `details.reason` has its own words.
 * @throws GRAPH_UNSUPPORTED for a model with an input that is not a tensor.
 */
export const openSession: OpenSession = async (model, options = {}) => {
  const label = typeof model === 'string' ? model : `model of ${String(model.byteLength)} bytes`;
  const session = await rethrown(`ONNX Runtime cannot load ${label}`, create(model, sessionOptions(options)));
  return wrap(session, label);
};

function sessionOptions(options: SessionOptions): ort.InferenceSession.SessionOptions {
  return {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    intraOpNumThreads: options.threads ?? 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: options.optimization ?? 'all',
    ...(options.optimizedModelPath !== undefined && { optimizedModelFilePath: options.optimizedModelPath }),
    // What goes wrong is in the error that is thrown; on standard error it would stand there twice.
    logSeverityLevel: 4,
    extra: {
      session: {
        ...(options.prepacking === false && { disable_prepacking: '1' }),
        ...(options.flushDenormals === true && { set_denormal_as_zero: '1' }),
      },
    },
  };
}

// Two calls, because the overloads of `create` take either type but not their union.
function create(
  model: Uint8Array | string,
  options: ort.InferenceSession.SessionOptions,
): Promise<ort.InferenceSession> {
  return typeof model === 'string'
    ? ort.InferenceSession.create(model, options)
    : ort.InferenceSession.create(model, options);
}

function wrap(session: ort.InferenceSession, label: string): Session {
  const inputs = session.inputMetadata.map((value) => inputSpec(value, label));
  const outputs = session.outputMetadata.flatMap((value) => (value.isTensor ? [specOf(value)] : []));
  const allOutputs = outputs.map((output) => output.name);
  return {
    inputs,
    outputs,
    run: async (feeds, fetches = allOutputs) => {
      const running = rethrown(`ONNX Runtime cannot run ${label}`, runSession(session, feeds, fetches));
      return mapValues(await running, fromRuntime);
    },
    release: () => session.release(),
  };
}

async function runSession(
  session: ort.InferenceSession,
  feeds: TensorMap,
  fetches: readonly string[] | Readonly<Record<string, Tensor | null>>,
): Promise<ort.InferenceSession.OnnxValueMapType> {
  const wanted = isNames(fetches)
    ? fetches
    : mapValues(fetches, (tensor) => (tensor === null ? null : toRuntime(tensor)));
  return session.run(mapValues(feeds, toRuntime), wanted);
}

function isNames(
  fetches: readonly string[] | Readonly<Record<string, Tensor | null>>,
): fetches is readonly string[] {
  return Array.isArray(fetches);
}

function inputSpec(value: ort.InferenceSession.ValueMetadata, label: string): ValueSpec {
  if (value.isTensor) return specOf(value);
  throw new WhittleError('GRAPH_UNSUPPORTED', `Input ${value.name} of ${label} is not a tensor`, {
    input: value.name,
    allowed: 'tensor inputs',
  });
}

function specOf(value: ort.InferenceSession.TensorValueMetadata): ValueSpec {
  return { name: value.name, dtype: value.type, dims: value.shape };
}

function toRuntime(tensor: Tensor): ort.Tensor {
  // onnxruntime-common checks the array's type against the name and keeps the array; its overloads cannot say so.
  return new ort.Tensor(tensor.dtype as 'float32', tensor.data as Float32Array, tensor.dims);
}

function fromRuntime(tensor: ort.Tensor): Tensor {
  const { data } = tensor;
  // Where the engine has Float16Array, ONNX Runtime answers with it: look at the same bytes as bit patterns.
  if (tensor.type === 'float16' && ArrayBuffer.isView(data))
    return {
      dtype: 'float16',
      dims: tensor.dims,
      data: new Uint16Array(data.buffer, data.byteOffset, data.length),
    };
  return { dtype: tensor.type, dims: tensor.dims, data };
}

function mapValues<From, To>(
  map: Readonly<Record<string, From>>,
  convert: (value: From) => To,
): Record<string, To> {
  const converted: Record<string, To> = {};
  for (const name in map) converted[name] = convert(map[name] as From);
  return converted;
}

async function rethrown<T>(what: string, running: Promise<T>): Promise<T> {
  try {
    return await running;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new WhittleError('MODEL_INVALID', `${what}: ${reason}`, { reason }, error);
  }
}
