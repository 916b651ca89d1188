import { WhittleError } from '../core/index.js';
import type { Tensor, TensorMap, ValueSpec } from '../core/index.js';

/** A feed of the gradient graph: by dimension its fixed size, or undefined where batches differ. */
interface FeedShape {
  readonly name: string;
  readonly sizes: readonly (number | undefined)[];
}

/** A gradient graph holds only for the sizes that its samples showed to be fixed; this checks them before each run. */
export class FeedCheck {
  readonly #shapes: readonly FeedShape[];

  constructor(inputs: readonly ValueSpec[], samples: readonly [TensorMap, TensorMap]) {
    const [first, second] = samples;
    this.#shapes = inputs.map(({ name }) => {
      const other = fedValue(second, name).dims;
      return {
        name,
        sizes: fedValue(first, name).dims.map((size, axis) => (size === other[axis] ? size : undefined)),
      };
    });
  }

  /** The feeds that the graph takes. @throws INPUT_INVALID for a missing one or a wrong size. */
  select(feeds: TensorMap): TensorMap {
    const entries = this.#shapes.map(({ name, sizes }): [string, Tensor] => {
      const tensor = fedValue(feeds, name);
      const fits =
        tensor.dims.length === sizes.length &&
        sizes.every((size, axis) => (size ?? tensor.dims[axis]) === tensor.dims[axis]);
      if (fits) return [name, tensor];
      const allowed = sizes.map((size) => size ?? 'any');
      throw new WhittleError(
        'INPUT_INVALID',
        `Feed ${name} is [${tensor.dims.join(', ')}], but the samples showed [${allowed.join(', ')}]`,
        { field: name, value: tensor.dims, allowed },
      );
    });
    return Object.fromEntries(entries);
  }
}

/** A feed by name. @throws INPUT_INVALID when it is missing. */
export function fedValue(feeds: TensorMap, name: string): Tensor {
  const tensor = feeds[name];
  if (tensor) return tensor;
  throw new WhittleError('INPUT_INVALID', `Input ${name} is not fed`, {
    field: name,
    value: undefined,
    allowed: 'a tensor',
  });
}
