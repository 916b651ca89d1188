import { WhittleError, type InputBinding, type ValueSpec } from '../core/index.js';

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
      throw mismatch(file, binding.name, 'an input of the model', `inputs ${[...found.keys()].join(', ')}`);
    if (input.dtype !== binding.dtype) throw mismatch(file, binding.name, binding.dtype, input.dtype);
    if (!sameShape(input.dims, binding.dims))
      throw mismatch(file, binding.name, shape(binding.dims), shape(input.dims));
  }
  for (const { name } of model) {
    if (!bound.has(name)) throw mismatch(file, name, 'a binding in the contract', 'none');
  }
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

function mismatch(file: string, input: string, expected: string, found: string): WhittleError {
  return new WhittleError(
    'CONTRACT_MISMATCH',
    `${file}: input ${input} does not fit the contract: expected ${expected}, found ${found}`,
    {
      file,
      field: input,
      expected,
      found,
    },
  );
}
