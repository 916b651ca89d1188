import { WhittleError } from '../core/index.js';
import { passedOnInitializers } from './codec-graph.js';
import type { Graph, Model, Node } from './model.js';
import { subgraphsOf } from './names.js';

/**
 * Checks what ONNX asks of a graph's names: every value is defined once and before it is used, a subgraph sees what
 * the graphs around it have defined so far, and every output exists. What operators make of their inputs is left to
 * ONNX Runtime.
 * @throws MODEL_INVALID naming the node and the value.
 */
export function checkModel(model: Model): void {
  checkGraph(model.graph, new Set());
}

function checkGraph(graph: Graph, outer: ReadonlySet<string>): void {
  const own = new Set<string>();
  for (const input of graph.inputs) define(own, input.name, `input of graph ${graph.name}`);
  // An initializer may give an input its default; two inputs or an input and a node may not share a name.
  for (const name of [...graph.initializers.keys(), ...passedOnInitializers(graph)]) own.add(name);
  const visible = new Set([...outer, ...own]);
  for (const node of graph.nodes) checkNode(node, own, visible);
  for (const output of graph.outputs)
    if (!visible.has(output.name))
      throw invalid(`Output ${output.name} of graph ${graph.name} is never computed`, { value: output.name });
}

function checkNode(node: Node, own: Set<string>, visible: Set<string>): void {
  for (const input of node.inputs)
    if (input !== '' && !visible.has(input))
      throw invalid(`${label(node)} reads ${input}, which nothing defines before it`, {
        node: node.name,
        value: input,
      });
  for (const subgraph of subgraphsOf(node)) checkGraph(subgraph, visible);
  for (const output of node.outputs) {
    if (output === '') continue;
    define(own, output, label(node));
    visible.add(output);
  }
}

function define(names: Set<string>, name: string, where: string): void {
  if (names.has(name))
    throw invalid(`${where} defines ${name}, which is defined already`, { where, value: name });
  names.add(name);
}

function label(node: Node): string {
  return `Node ${node.name === '' ? (node.outputs[0] ?? '') : node.name} (${node.op})`;
}

function invalid(message: string, details: Readonly<Record<string, unknown>>): WhittleError {
  return new WhittleError('MODEL_INVALID', message, details);
}
