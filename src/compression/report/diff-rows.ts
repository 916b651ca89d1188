import type { DiffReport } from '../diff/diff-models.js';
import type { TensorError } from '../diff/difference-kernel.js';
import type { OperatorCount } from '../diff/structure.js';
import type { ValueError } from '../diff/value-errors.js';
import type { WeightError } from '../diff/weight-errors.js';
import type { ModelStats } from '../measure/model-stats.js';
import type { OutputError } from '../measure/output-error.js';
import type { Column } from './columns.js';
import { formatBytes, formatCosine, formatDecibels, formatError, formatFactor } from './format.js';
import { totalBytes } from './overview.js';

/** The columns that every comparison of tensors has. */
const ERROR_COLUMNS: readonly Column<TensorError>[] = [
  { header: 'SQNR dB', cell: sqnrText, isNumber: true },
  { header: 'cosine', cell: ({ cosine }) => formatCosine(cosine ?? undefined), isNumber: true },
  { header: 'largest error', cell: ({ maxAbsolute }) => formatError(maxAbsolute), isNumber: true },
];

export const VALUE_COLUMNS: readonly Column<ValueError>[] = [
  { header: 'value', cell: ({ value }) => value },
  { header: 'operator', cell: ({ op }) => op },
  { header: 'drop dB', cell: ({ dropDb }) => dropDb.toFixed(1), isNumber: true },
  ...ERROR_COLUMNS,
];

export const WEIGHT_COLUMNS: readonly Column<WeightError>[] = [
  { header: 'weight', cell: ({ weight }) => weight },
  { header: 'layer', cell: ({ layer }) => layer },
  { header: 'shape', cell: ({ dims }) => dims.join(' × ') },
  { header: 'compared', cell: ({ compared }) => compared },
  ...ERROR_COLUMNS,
];

export const OUTPUT_COLUMNS: readonly Column<readonly [string, OutputError]>[] = [
  { header: 'output', cell: ([name]) => name },
  { header: 'largest error', cell: ([, { maxAbsolute }]) => formatError(maxAbsolute), isNumber: true },
  { header: 'relative RMS error', cell: ([, { relativeRms }]) => formatError(relativeRms), isNumber: true },
  { header: 'SQNR dB', cell: ([, { relativeRms }]) => formatDecibels(relativeRms), isNumber: true },
  { header: 'cosine', cell: ([, { cosine }]) => formatCosine(cosine), isNumber: true },
];

export const OPERATOR_COLUMNS: readonly Column<OperatorCount>[] = [
  { header: 'operator', cell: ({ operator }) => operator },
  { header: 'in the first', cell: ({ a }) => a, isNumber: true },
  { header: 'in the second', cell: ({ b }) => b, isNumber: true },
  { header: 'only in the first', cell: ({ onlyA }) => onlyA, isNumber: true },
  { header: 'only in the second', cell: ({ onlyB }) => onlyB, isNumber: true },
];

/** `38.2`, `∞` where nothing differs, `not finite`, or `–` where the reference is all zero. */
export function sqnrText({ sqnrDb, maxAbsolute, nonFinite }: TensorError): string {
  if (nonFinite > 0) return 'not finite';
  if (sqnrDb !== null) return sqnrDb.toFixed(1);
  return maxAbsolute === 0 ? '∞' : '–';
}

/** In words: where accuracy is lost first, and most. */
export function lossText({ loss: { first, steepest }, values, thresholdDb }: DiffReport): string {
  if (values.length === 0) return 'The models compute no value of the same name and shape.';
  const [worst] = steepest;
  const falls = first && `First below ${thresholdDb} dB: ${placeText(first)} at ${sqnrText(first)} dB.`;
  const drops = worst && `Largest drop: ${worst.dropDb.toFixed(1)} dB at ${placeText(worst)}.`;
  const text = [falls ?? `No value falls below ${thresholdDb} dB.`, drops ?? ''];
  return text.filter((part) => part !== '').join(' ');
}

function placeText({ value, node, op }: ValueError): string {
  return node === value || node === op ? `${value} (${op})` : `${value} (${op} ${node})`;
}

/** Bytes of both models by kind of weight. */
export interface SizePair {
  readonly name: string;
  readonly a: number;
  readonly b: number;
}

export const PAIR_COLUMNS: readonly Column<SizePair>[] = [
  { header: '', cell: ({ name }) => name },
  { header: 'the first', cell: ({ a }) => formatBytes(a), isNumber: true },
  { header: 'the second', cell: ({ b }) => formatBytes(b), isNumber: true },
  { header: 'factor', cell: ({ a, b }) => formatFactor(a, b), isNumber: true },
];

export function sizePairs({ sizes: { a, b } }: DiffReport): SizePair[] {
  const kinds: readonly (readonly [string, (stats: ModelStats) => number])[] = [
    ['all weights', totalBytes],
    ['dense', ({ denseBytes }) => denseBytes],
    ['tables', ({ tableBytes }) => tableBytes],
    ['convolutions', ({ convBytes }) => convBytes],
    ['other', ({ otherBytes }) => otherBytes],
  ];
  return kinds.map(([name, of]) => ({ name, a: of(a), b: of(b) }));
}
