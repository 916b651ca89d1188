import { firstInput } from './rule.js';
import type { RuleContext, Rules } from './rule.js';

/**
 * Softmax cross-entropy over `[rows, classes]` logits and int labels `[rows]`: (softmax − onehot(label)), times the
 * weight of each row. The one-hot matrix is never made: −1 is added at each label's place.
 */
function softmaxCrossEntropy(n: RuleContext): string {
  if (n.hasInput(2)) throw n.unsupported('class weights have no rule');
  if (n.rank(n.x) !== 2) throw n.unsupported('logits must be [rows, classes]');
  const { op } = n;
  const labels = op.Cast(n.input(1), { to: 'int64' });
  const counted = countedRows(n, labels);
  // An ignored label may lie outside the classes; its row is weighted 0, so any class will do.
  const safeLabels = counted === undefined ? labels : op.Mul(labels, op.Cast(counted, { to: 'int64' }));
  const row = op.Range(n.integer(0), op.Size(labels), n.integer(1));
  const places = op.Concat(op.Unsqueeze(row, [1]), op.Unsqueeze(safeLabels, [1]), { axis: 1 });
  const probabilities = op.Exp(n.output(1));
  const difference = op.ScatterND(probabilities, places, op.Expand(-1, op.Shape(labels)), {
    reduction: 'add',
  });
  return n.scaleRows(difference, op.Unsqueeze(rowWeights(n, labels, counted), [1]));
}

/** Bool `[rows]`: false where the label is the one to ignore. Undefined where every row counts. */
function countedRows(n: RuleContext, labels: string): string | undefined {
  if (!n.node.attributes.has('ignore_index')) return undefined;
  return n.op.Not(n.op.Equal(labels, n.integer(n.int('ignore_index', 0))));
}

/** Gradient of the loss with respect to each row's own loss, `[rows]`. */
function rowWeights(n: RuleContext, labels: string, counted: string | undefined): string {
  const { op } = n;
  const { dtype } = n.shape(n.x);
  const ones = op.Expand(1, op.Shape(labels));
  const counts = counted === undefined ? ones : op.Cast(counted, { to: dtype });
  const weighted = op.Mul(n.dy, counts);
  if (n.text('reduction', 'mean') !== 'mean') return weighted;
  return op.Div(weighted, op.ReduceSum(counts, { keepdims: 0 }));
}

export const LOSS_RULES: Rules = { SoftmaxCrossEntropyLoss: firstInput(softmaxCrossEntropy) };
