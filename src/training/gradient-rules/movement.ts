import { firstInput } from './rule.js';
import type { Rule, RuleContext, Rules } from './rule.js';

/** Operators that change the shape alone. */
const reshaped = firstInput((n) => n.op.Reshape(n.dy, n.op.Shape(n.x)));

/**
 * Any operator that only copies elements: it is run on the elements' numbers, and the gradient of each copy is added
 * where it came from.
 */
const copied = firstInput((n) => {
  const { op, x } = n;
  const count = op.Size(x);
  const numbers = op.Reshape(op.Range(n.integer(0), count, n.integer(1)), op.Shape(x));
  const { inputs, attributes, domain, op: name } = n.node;
  const [origins = ''] = n.builder.node(
    name,
    [numbers, ...inputs.slice(1)],
    Object.fromEntries(attributes),
    1,
    domain,
  );
  const zeros = op.Expand(0, op.Unsqueeze(count, [0]));
  const sums = op.ScatterElements(zeros, op.Reshape(origins, [-1]), op.Reshape(n.dy, [-1]), {
    axis: 0,
    reduction: 'add',
  });
  return op.Reshape(sums, op.Shape(x));
});

/** Rows of a table: whole rows are added, which is twice as fast as element by element. */
const gather: Rule = (n) => {
  if (n.axis(0) !== 0) return copied(n);
  return firstInput(({ op, x, dy }) =>
    op.ScatterND(n.zerosLike(x), op.Unsqueeze(op.Cast(n.input(1), { to: 'int64' }), [-1]), dy, {
      reduction: 'add',
    }),
  )(n);
};

/** One Split shared by all inputs; along a dynamic axis their sizes are read at run time. */
const concat: Rule = (n) => {
  const inputs = n.node.inputs;
  const axis = n.axis(0);
  if (inputs.length === 1) return () => n.dy;
  const size = (value: string): string => n.op.Shape(value, { start: axis, end: axis + 1 });
  const sizes = n.isDynamic(n.y, axis)
    ? n.op.Concat(...inputs.map(size), { axis: 0 })
    : inputs.map((value) => n.dims(value)[axis] ?? 0);
  const parts = n.builder.node('Split', [n.dy, sizes], { axis }, inputs.length);
  return (input) => parts[input];
};

/** Parts that the loss does not depend on count as zeros. */
const split: Rule = firstInput((n) => {
  const parts = n.outputGradients.map((gradient, index) => gradient ?? n.zerosLike(n.output(index)));
  return n.op.Concat(...parts, { axis: n.axis(0) });
});

function transpose(n: RuleContext): string {
  const permutation = n.ints('perm') ?? n.dims(n.x).map((_, axis) => n.rank(n.x) - 1 - axis);
  return n.op.Transpose(n.dy, { perm: permutation.map((_, axis) => permutation.indexOf(axis)) });
}

/** Cuts the padding off again. */
function pad(n: RuleContext): string {
  if (n.text('mode', 'constant') !== 'constant') throw n.unsupported('only constant padding has a rule');
  if (n.hasInput(3)) throw n.unsupported('padding of chosen axes has no rule');
  const begins = n.op.Slice(n.input(1), [0], [n.rank(n.x)]);
  return n.op.Slice(n.dy, begins, n.op.Add(begins, n.op.Shape(n.x)));
}

export const MOVEMENT_RULES: Rules = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: firstInput(transpose),
  Expand: firstInput((n) => n.sumTo(n.dy, n.y, n.x)),
  Concat: concat,
  Split: split,
  Pad: firstInput(pad),
  Slice: copied,
  Tile: copied,
  Gather: gather,
  GatherElements: copied,
  GatherND: copied,
};
