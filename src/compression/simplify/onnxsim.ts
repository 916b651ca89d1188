import { spawn } from 'node:child_process';
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
    const simplified = decodeModel(await runProcess(module, sent)).graph;
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

/** What the process is sent, and what it sends back. */
interface Request {
  readonly module: string;
  readonly model: Uint8Array;
  readonly options: typeof OPTIONS;
}
type Response = { readonly model: Uint8Array } | { readonly error: string };

/**
 * Plain JavaScript, which Node runs as it is, wherever this file lies. onnxsim prints tables and its reasons to the
 * console.
 */
const SCRIPT = `
let printed = '';
console.log = () => {};
console.error = (text) => { printed += text + '\\n'; };
process.on('disconnect', () => process.exit());
process.once('message', async ({ module, model, options }) => {
  try {
    const { simplify } = await import(module);
    process.send({ model: (await simplify(model, options)).model });
  } catch (error) {
    process.send({ error: printed + String(error) });
  }
});
`;

/**
 * Runs onnxsim in a process of its own: it blocks its thread for seconds and never gives back memory. Not in a worker
 * thread: one that ends while V8 still compiles can wait forever for a collection that it should itself make (Node 20).
 * For the same reason the process is killed once it has answered.
 */
function runProcess(module: string, model: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', SCRIPT], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
    });
    const fail = (reason: string): void => {
      reject(new WhittleError('GRAPH_UNSUPPORTED', `onnxsim: ${reason}`));
    };
    child.once('message', (response: Response) => {
      if ('model' in response) resolve(response.model);
      else fail(reasonIn(response.error));
      child.kill('SIGKILL');
    });
    child.once('error', (error) => {
      fail(error.message);
    });
    // After a message this finds the promise settled.
    child.once('exit', (code, signal) => {
      fail(`its process ended (${signal ?? code}) without a result`);
    });
    const request: Request = { module, model, options: OPTIONS };
    child.send(request);
  });
}

function reasonIn(printed: string): string {
  return /simplify error: ([^\n]*)/.exec(printed)?.[1] ?? printed;
}
