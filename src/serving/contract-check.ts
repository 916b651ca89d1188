import { WhittleError, type InputBinding, type Tensor, type ValueSpec } from '../core/index.js';

/**
 * Compares a model's inputs with the bindings that feed it. Dynamic dimensions match any.
 * @throws CONTRACT_MISMATCH naming the file, the input, what was expected and what was found.
 */
export function checkContract(
  file: string,
  model: readonly ValueSpec[],
  bindings: readonly InputBinding[],
): void {
  const found = new Map(model.map((input) => [input.name, input]));
  const bound = new Set(bindings.map(({ name }) => name));
  for (const binding of bindings) {
    const input = found.get(binding.name);
    if (input === undefined)
      throw mismatch(
        file,
        'input',
        binding.name,
        'an input of the model',
        `inputs ${[...found.keys()].join(', ')}`,
      );
    if (input.dtype !== binding.dtype)
      throw mismatch(file, 'input', binding.name, binding.dtype, input.dtype);
    if (!sameShape(input.dims, binding.dims))
      throw mismatch(file, 'input', binding.name, shape(binding.dims), shape(input.dims));
  }
  for (const { name } of model) {
    if (!bound.has(name)) throw mismatch(file, 'input', name, 'a binding in the contract', 'none');
  }
}

/**
 * Checks that a model has the output that is asked of it, as float32.
 * @throws CONTRACT_MISMATCH naming the file, the output, what was expected and what was found.
 */
export function checkOutput(file: string, outputs: readonly ValueSpec[], name: string): void {
  const output = outputs.find((one) => one.name === name);
  const names = outputs.map((one) => one.name).join(', ');
  if (output === undefined)
    throw mismatch(file, 'output', name, 'an output of the model', `outputs ${names}`);
  if (output.dtype !== 'float32') throw mismatch(file, 'output', name, 'float32', output.dtype);
}

/**
 * The output of a run, if it has as many elements as were asked for: what is larger is not sent on.
 * @throws CONTRACT_MISMATCH
 */
export function outputOf(
  file: string,
  outputs: Readonly<Record<string, Tensor>>,
  name: string,
  elements: number,
): Tensor {
  const tensor = outputs[name];
  if (tensor?.data.length === elements) return tensor;
  const found = tensor === undefined ? 'nothing' : shape(tensor.dims);
  throw mismatch(file, 'output', name, `${elements} elements`, found);
}

function sameShape(model: ValueSpec['dims'], bound: InputBinding['dims']): boolean {
  return (
    model.length === bound.length &&
    model.every(
      (dim, axis) => typeof dim === 'string' || typeof bound[axis] === 'string' || dim === bound[axis],
    )
  );
}

function shape(dims: readonly (number | string)[]): string {
  return `[${dims.join(', ')}]`;
}

function mismatch(
  file: string,
  kind: 'input' | 'output',
  name: string,
  expected: string,
  found: string,
): WhittleError {
  return new WhittleError(
    'CONTRACT_MISMATCH',
    `${file}: ${kind} ${name} does not fit the contract: expected ${expected}, found ${found}`,
    { file, field: name, expected, found },
  );
}
