import { percent } from '../inspect/adviser.js';
import type { Advice } from '../inspect/adviser.js';
import { commandFor } from '../inspect/command.js';
import type { InspectedTarget } from '../inspect/command.js';
import { int8Arithmetic } from '../inspect/cpu.js';
import type { Inspection } from '../inspect/inspect-model.js';
import type { Saving } from '../inspect/subject.js';
import { sumOf } from '../inspect/weight-ledger.js';
import type { SpeedRange } from '../inspect/speed.js';
import type { LargeTensor, ValueFacts } from '../inspect/structure.js';
import { tableText } from './columns.js';
import type { Column } from './columns.js';
import { formatBytes, formatCount } from './format.js';
import { totalBytes } from './overview.js';

/** The inspection for people. */
export function inspectionMarkdown(inspection: Inspection, target: InspectedTarget): string {
  return [
    overview(inspection),
    `## Inputs and outputs\n\n${tableText(VALUE_COLUMNS, valueRows(inspection), MAX_VALUES)}`,
    `## Weights\n\n${tableText(WEIGHT_COLUMNS, weightRows(inspection))}`,
    `## Largest tensors\n\n${tableText(TENSOR_COLUMNS, inspection.largest)}`,
    `## What each pass could save\n\n${savingsText(inspection)}`,
    `## Advice for ${inspection.goal}\n\n${adviceText(inspection, target)}`,
  ].join('\n');
}

/** Said of models with subgraphs. */
const HIDDEN = ' Inside its subgraphs those count whose shapes the model records.';
const MAX_OPERATORS = 12;
const MAX_VALUES = 12;

function overview({ nodes, subgraphs, operators, opsets, run }: Inspection): string {
  const versions = Object.entries(opsets).map(([domain, version]) => `${domain} ${version}`);
  const shown = operators.slice(0, MAX_OPERATORS).map(({ operator, count }) => `${operator} ${count}`);
  const rest = operators.length - shown.length;
  const inputs = { requests: 'on requests of the bundle', generated: 'on made-up inputs' };
  const work =
    run.source === null
      ? `Multiply-adds are not known: ${run.reason}`
      : run.multiplyAddsPer100Rows === 0 && subgraphs > 0
        ? 'Multiply-adds are not known: they are inside subgraphs whose shapes the model does not record.'
        : `${formatCount(run.multiplyAddsPer100Rows)} multiply-adds at 100 rows, counted ${inputs[run.source]}.${subgraphs > 0 ? HIDDEN : ''}`;
  return [
    `${nodes} nodes, operator sets ${versions.join(', ')}. ${work}`,
    `Operators: ${shown.join(', ')}${rest > 0 ? ` and ${rest} more kinds` : ''}.\n`,
  ].join('\n');
}

interface ValueRow extends ValueFacts {
  readonly direction: 'input' | 'output';
}

function valueRows({ inputs, outputs }: Inspection): ValueRow[] {
  return [
    ...inputs.map((value) => ({ ...value, direction: 'input' as const })),
    ...outputs.map((value) => ({ ...value, direction: 'output' as const })),
  ];
}

const VALUE_COLUMNS: readonly Column<ValueRow>[] = [
  { header: '', cell: ({ direction }) => direction },
  { header: 'name', cell: ({ name }) => name },
  { header: 'type', cell: ({ dtype }) => dtype ?? 'no tensor' },
  { header: 'shape', cell: ({ dims }) => (dims === null ? 'not recorded' : shapeText(dims)) },
];

function shapeText(dims: readonly (number | string)[]): string {
  return `[${dims.map((dim) => (dim === '' ? '?' : dim)).join(', ')}]`;
}

interface WeightRow {
  readonly kind: string;
  readonly elements: number;
  readonly bytes: number;
  readonly share: number;
}

function weightRows({ weights }: Inspection): WeightRow[] {
  const total = Math.max(1, totalBytes(weights));
  const row = (kind: string, elements: number, bytes: number): WeightRow => ({
    kind,
    elements,
    bytes,
    share: bytes / total,
  });
  return [
    row('dense', weights.denseWeights, weights.denseBytes),
    row('tables', weights.tableWeights, weights.tableBytes),
    row('convolutions', weights.convWeights, weights.convBytes),
    row('other', weights.otherWeights, weights.otherBytes),
  ].filter(({ bytes }) => bytes > 0);
}

const WEIGHT_COLUMNS: readonly Column<WeightRow>[] = [
  { header: '', cell: ({ kind }) => kind },
  { header: 'elements', cell: ({ elements }) => formatCount(elements), isNumber: true },
  { header: 'bytes', cell: ({ bytes }) => formatBytes(bytes), isNumber: true },
  { header: 'share', cell: ({ share }) => percent(share), isNumber: true },
];

const READERS_SHOWN = 2;

const TENSOR_COLUMNS: readonly Column<LargeTensor>[] = [
  { header: 'tensor', cell: ({ name }) => name },
  { header: 'kind', cell: ({ kind }) => kind },
  { header: 'type and shape', cell: ({ dtype, dims }) => `${dtype} ${shapeText(dims)}` },
  { header: 'bytes', cell: ({ bytes }) => formatBytes(bytes), isNumber: true },
  { header: 'share', cell: ({ share }) => percent(share), isNumber: true },
  { header: 'read by', cell: ({ readers }) => readersText(readers) },
];

function readersText(readers: readonly string[]): string {
  const rest = readers.length - READERS_SHOWN;
  return `${readers.slice(0, READERS_SHOWN).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

const SAVING_COLUMNS: readonly Column<Saving>[] = [
  { header: 'recipe', cell: ({ recipe }) => recipe },
  { header: 'takes', cell: ({ takes, of, unit }) => `${takes} of ${of} ${unit}` },
  {
    header: 'bytes',
    cell: ({ bytes }) => (bytes === null ? '–' : formatBytes(sumOf(bytes))),
    isNumber: true,
  },
  {
    header: 'multiply-adds',
    cell: ({ multiplyAddsPer100Rows: count }) => (count === null ? '–' : formatCount(count)),
    isNumber: true,
  },
  { header: 'times faster', cell: ({ timesFaster }) => speedText(timesFaster), isNumber: true },
  { header: 'requests', cell: ({ needsRequests }) => (needsRequests ? 'needed' : '') },
];

const CAVEAT =
  'Estimates: no pass was run. Speed is that of 100 rows on one core with AVX-512 VNNI, as far as it was measured there.';

function savingsText({ savings, weights, run }: Inspection): string {
  const taking = savings.filter(({ takes }) => takes > 0);
  const none = savings.filter(({ takes }) => takes === 0).map(({ recipe }) => recipe);
  const work = run.source === null ? '' : `, ${formatCount(run.multiplyAddsPer100Rows)} multiply-adds`;
  return [
    tableText(SAVING_COLUMNS, taking),
    `Now: ${formatBytes(totalBytes(weights))}${work}. ${none.length > 0 ? `Nothing to take for ${none.join(', ')}. ` : ''}${CAVEAT}\n`,
  ].join('\n');
}

function speedText(range: SpeedRange | null): string {
  if (range === null) return '–';
  const [low, high] = [range.low.toFixed(1), range.high?.toFixed(1)];
  if (high === undefined) return `at least ${low}`;
  return low === high ? low : `${low} to ${high}`;
}

function adviceText({ advice, nothingToGain, cpu }: Inspection, target: InspectedTarget): string {
  const { features, model, architecture } = cpu;
  const known = features === null ? 'instruction sets not known' : features.join(', ') || 'none of note';
  const parts = [
    `This CPU: ${model ?? architecture} (${known}): its 8-bit arithmetic is ${int8Arithmetic(cpu)}.`,
    ...(nothingToGain === null ? [] : [nothingToGain]),
    ...(advice.length === 0
      ? []
      : [advice.map((each, index) => adviceItem(each, index + 1, target)).join('\n')]),
    ...(advice.length === 0 ? [] : [COMPARE]),
  ];
  return parts.join('\n\n');
}

const COMPARE =
  'What it costs: `whittle diff` compares two models, `whittle evaluate` the rankings of a bundle’s variants.';

function adviceItem(advice: Advice, number: number, target: InspectedTarget): string {
  const { recipe, bytes, timesFaster, reason } = advice;
  const figures = [
    ...(bytes === null ? [] : [`about ${formatBytes(bytes)}`]),
    ...(timesFaster === null || timesFaster.high === 1 ? [] : [`${speedText(timesFaster)} times faster`]),
  ];
  const said = figures.length === 0 ? '' : ` (${figures.join(', ')})`;
  return `${number}. ${recipe}${said}: ${reason}\n   ${commandFor(advice, target)}`;
}
