import { Worker } from 'node:worker_threads';
import { toWhittleError, WhittleError } from '../../core/index.js';
import { byteLength, checkModel, decodeModel, encodeModel } from '../../onnx/index.js';
import type { Graph, Initializer, Model, ValueInfo } from '../../onnx/index.js';
import { withSession } from '../calibration/session.js';
import type { PassContext } from '../pass.js';
import { removalOf, unchanged } from './removal.js';
import type { Step } from './removal.js';
import { isRandom } from './rewrite.js';

/** Initializers above this size stay here and are inputs to onnxsim, which would copy them ten times over. */
const KEPT_ABOVE_BYTES = 4096;
/** What is sent all the same: small initializers and whatever subgraphs hold. */
const MAX_SENT_BYTES = 2 ** 26;

const OPTIONS = {
  // Done before, with a bound on what a constant may grow to.
  constantFolding: false,
  // Done before, and never with random nodes.
  skipOptimizers: ['eliminate_common_subexpression', 'eliminate_duplicate_initializer'],
};

/**
 * Runs the onnxsim package (onnx-optimizer with shape inference, as WebAssembly) on a graph: shapes that are known
 * become constants, operators are fused. It sees large weights as inputs only. Names and types of inputs and outputs
 * stay, and so do recorded shapes. The graph is left as it is where onnxsim refuses it, or ONNX Runtime its result.
 * @throws PACKAGE_MISSING where onnxsim is not installed.
 */
export async function runOnnxsim(model: Model, context: PassContext): Promise<Step> {
  const { graph } = model;
  const refuse = (reason: string): Step => unchanged(graph, [{ layer: graph.name, op: 'onnxsim', reason }]);
  if (graph.nodes.some(isRandom)) return refuse('the graph has random nodes, which must not be merged');
  const untyped = graph.outputs.find(({ dtype, dims }) => dtype === undefined || dims === undefined);
  if (untyped !== undefined) return refuse(`output ${untyped.name} has no type or shape in the file`);
  const sent = encodeModel({ ...model, graph: withoutLarge(graph) });
  if (sent.byteLength > MAX_SENT_BYTES) return refuse(`its subgraphs hold ${sent.byteLength} bytes`);
  const module = onnxsimModule();
  try {
    const simplified = decodeModel(await runWorker(module, sent)).graph;
    const changed = { ...model, graph: merge(graph, simplified) };
    checkModel(changed);
    await withSession(changed, context.openSession, () => Promise.resolve());
    return stepFrom(graph, changed.graph);
  } catch (thrown) {
    return refuse(toWhittleError(thrown).message);
  }
}

function onnxsimModule(): string {
  try {
    return import.meta.resolve('onnxsim');
  } catch (error) {
    throw new WhittleError(
      'PACKAGE_MISSING',
      'The package onnxsim is not installed: install it, or set onnxsim to false',
      { package: 'onnxsim', field: 'onnxsim', allowed: [false] },
      error,
    );
  }
}

function isLarge(initializer: Initializer): boolean {
  return byteLength(initializer) > KEPT_ABOVE_BYTES;
}

/** The graph with large initializers as inputs. */
function withoutLarge(graph: Graph): Graph {
  const large = [...graph.initializers.values()].filter(isLarge);
  const inputs = large.map(({ name, dtype, dims }): ValueInfo => ({ name, dtype, dims }));
  const names = new Set(large.map(({ name }) => name));
  return {
    ...graph,
    inputs: [...graph.inputs.filter(({ name }) => !names.has(name)), ...inputs],
    initializers: new Map([...graph.initializers].filter(([name]) => !names.has(name))),
  };
}

/** What onnxsim made of the graph, with everything it has no say in as it was. */
function merge(graph: Graph, simplified: Graph): Graph {
  const large = [...graph.initializers].filter(([, initializer]) => isLarge(initializer));
  const initializers = new Map([...simplified.initializers, ...large]);
  // Before IR 4 initializers are listed as inputs too.
  const wasDropped = (name: string): boolean => graph.initializers.has(name) && !initializers.has(name);
  return {
    ...graph,
    inputs: graph.inputs.filter(({ name }) => !wasDropped(name)),
    initializers,
    nodes: simplified.nodes,
  };
}

function stepFrom(before: Graph, after: Graph): Step {
  const outputs = new Set(after.nodes.flatMap((node) => node.outputs));
  const gone = before.nodes.filter((node) => !node.outputs.some((output) => outputs.has(output)));
  if (gone.length === 0) return unchanged(before);
  return {
    graph: after,
    removals: gone.map((node) => removalOf(node, 'simplified by onnxsim')),
    changed: [],
    left: [],
  };
}

/** Plain JavaScript, because a worker is started from a file or a text that Node runs as it is. */
const SCRIPT = `
const { parentPort, workerData } = require('node:worker_threads');
import(workerData.module)
  .then(({ simplify }) => simplify(workerData.model, workerData.options))
  .then(({ model }) => parentPort.postMessage(model));
`;

/**
 * Runs onnxsim in a thread of its own: it blocks its thread, prints tables to the console, and never gives back memory.
 */
function runWorker(module: string, model: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const workerData = { module, model, options: OPTIONS };
    const worker = new Worker(SCRIPT, { eval: true, stdout: true, stderr: true, workerData });
    let printed = '';
    let result: Uint8Array | undefined;
    worker.stdout.resume();
    worker.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
    worker.on('message', (message: Uint8Array) => (result = message));
    worker.on('error', (error) => {
      reject(new WhittleError('GRAPH_UNSUPPORTED', reasonIn(printed) ?? String(error)));
    });
    worker.on('exit', () => {
      if (result !== undefined) resolve(result);
      else
        reject(new WhittleError('GRAPH_UNSUPPORTED', reasonIn(printed) ?? 'onnxsim ended without a result'));
    });
  });
}

function reasonIn(printed: string): string | undefined {
  const reason = /simplify error: ([^\n]*)/.exec(printed)?.[1];
  return reason && `onnxsim: ${reason}`;
}
