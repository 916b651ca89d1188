import type { CompressionReport, Measured, StepReport } from '../compress.js';
import type { ModelStats } from '../measure/model-stats.js';
import type { OutputError } from '../measure/output-error.js';
import type { LayerChange, LeftLayer } from '../pass.js';
import type { Column } from './columns.js';
import {
  formatBytes,
  formatCount,
  formatCosine,
  formatDecibels,
  formatError,
  formatFactor,
} from './format.js';

/** The model at one point of the recipe. */
export interface StageFigures {
  /** `given`, or the step's number and pass. */
  readonly name: string;
  readonly measured: Measured;
}

/** The model as given and after each step. */
export function stagesOf({ before, steps }: CompressionReport): StageFigures[] {
  const after = steps.map((step, index) => ({
    name: `${index + 1} ${step.step.pass}`,
    measured: step.after,
  }));
  return [{ name: 'given', measured: before }, ...after];
}

export function totalBytes({ denseBytes, tableBytes, convBytes, otherBytes }: ModelStats): number {
  return denseBytes + tableBytes + convBytes + otherBytes;
}

/** Rows of the table of sizes: what is measured, as it was and as it is. */
export function sizeRows({ before, after }: CompressionReport): readonly SizeRow[] {
  const row = (
    name: string,
    of: (measured: Measured) => number,
    format: (value: number) => string,
  ): SizeRow => ({
    name,
    before: of(before),
    after: of(after),
    format,
  });
  return [
    row('all weights', totalBytes, formatBytes),
    row('dense', ({ denseBytes }) => denseBytes, formatBytes),
    row('tables', ({ tableBytes }) => tableBytes, formatBytes),
    row('convolutions', ({ convBytes }) => convBytes, formatBytes),
    row('other', ({ otherBytes }) => otherBytes, formatBytes),
    row('multiply-adds at 100 rows', ({ multiplyAddsPer100Rows }) => multiplyAddsPer100Rows, formatCount),
  ];
}

export interface SizeRow {
  readonly name: string;
  readonly before: number;
  readonly after: number;
  readonly format: (value: number) => string;
}

export const SIZE_COLUMNS: readonly Column<SizeRow>[] = [
  { header: '', cell: ({ name }) => name },
  { header: 'before', cell: ({ before, format }) => format(before), isNumber: true },
  { header: 'after', cell: ({ after, format }) => format(after), isNumber: true },
  { header: 'factor', cell: ({ before, after }) => formatFactor(before, after), isNumber: true },
];

/** One output against a model before, as texts. */
export interface AgreementRow {
  /** What was compared with what. */
  readonly step: string;
  readonly output: string;
  readonly maxAbsolute: string;
  readonly relativeRms: string;
  readonly decibels: string;
  readonly cosine: string;
}

export const AGREEMENT_COLUMNS: readonly Column<AgreementRow>[] = [
  { header: 'after', cell: ({ step }) => step },
  { header: 'output', cell: ({ output }) => output },
  { header: 'largest error', cell: ({ maxAbsolute }) => maxAbsolute, isNumber: true },
  { header: 'relative RMS error', cell: ({ relativeRms }) => relativeRms, isNumber: true },
  { header: 'SQNR dB', cell: ({ decibels }) => decibels, isNumber: true },
  { header: 'cosine', cell: ({ cosine }) => cosine, isNumber: true },
];

/** Agreement of every output: after all steps with the model given, then, where there are several, step by step. */
export function agreementRows({ steps, outputs }: CompressionReport): AgreementRow[] {
  const whole = rowsOf('all steps', outputs);
  if (steps.length < 2) return whole;
  return [
    ...whole,
    ...steps.flatMap(({ step, outputs }, index) => rowsOf(`${index + 1} ${step.pass}`, outputs)),
  ];
}

function rowsOf(step: string, outputs: Readonly<Record<string, OutputError>>): AgreementRow[] {
  return Object.entries(outputs).map(([output, { maxAbsolute, relativeRms, cosine }]) => ({
    step,
    output,
    maxAbsolute: formatError(maxAbsolute),
    relativeRms: formatError(relativeRms),
    decibels: formatDecibels(relativeRms),
    cosine: formatCosine(cosine),
  }));
}

export interface ChangedLayer extends LayerChange {
  readonly step: string;
}

export const CHANGED_COLUMNS: readonly Column<ChangedLayer>[] = [
  { header: 'step', cell: ({ step }) => step },
  { header: 'layer', cell: ({ layer }) => layer },
  { header: 'change', cell: ({ change }) => change },
  { header: 'relative error', cell: ({ relativeError }) => formatError(relativeError), isNumber: true },
];

/** Every layer that a step changed, the largest error first. */
export function changedLayers({ steps }: CompressionReport): ChangedLayer[] {
  const all = steps.flatMap(({ step, changed }, index) =>
    changed.map((change) => ({ ...change, step: `${index + 1} ${step.pass}` })),
  );
  return all.sort((a, b) => b.relativeError - a.relativeError);
}

export interface LeftGroup {
  readonly step: string;
  readonly reason: string;
  readonly layers: readonly LeftLayer[];
}

export const LEFT_COLUMNS: readonly Column<LeftGroup>[] = [
  { header: 'step', cell: ({ step }) => step },
  { header: 'layers', cell: ({ layers }) => layers.length, isNumber: true },
  { header: 'reason', cell: ({ reason }) => reason },
];

/** What each step left, put together by reason, the most frequent first. */
export function leftGroups({ steps }: CompressionReport): LeftGroup[] {
  return steps.flatMap((step, index) => {
    const byReason = new Map<string, LeftLayer[]>();
    for (const layer of step.left) byReason.set(layer.reason, [...(byReason.get(layer.reason) ?? []), layer]);
    const groups = [...byReason].map(([reason, layers]) => ({
      step: `${index + 1} ${step.step.pass}`,
      reason,
      layers,
    }));
    return groups.sort((a, b) => b.layers.length - a.layers.length);
  });
}

/** `quantize-dynamic (minWeights 100)`. */
export function stepText({ step: { pass, ...parameters } }: Pick<StepReport, 'step'>): string {
  const said = Object.entries(parameters).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return said.length === 0 ? pass : `${pass} (${said.join(', ')})`;
}

/** Where the outputs were compared, in words. */
export function comparedText({ compared: { feeds, source }, seed }: CompressionReport): string {
  const inputs = source === 'calibration' ? 'calibration requests' : `generated inputs (seed ${seed})`;
  return `${feeds} feeds of ${inputs}`;
}
