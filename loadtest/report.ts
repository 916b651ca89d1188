import { errorCount, type Measurement } from './measurement.js';
import { remarksOn } from './remarks.js';
import type { Row, VariantFacts } from './summary.js';
import { formatTable } from './table.js';

/** The conditions under which the figures hold. */
export interface Conditions {
  readonly command: string;
  /** ISO 8601. */
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  /** Runnable processes of the machine over the minute before, the server's start included; 0 on Windows. */
  readonly loadAverage: number;
  readonly target: string;
  readonly endpoint: string;
  readonly connections: number;
  readonly secondsPerPhase: number;
  readonly rounds: number;
  readonly warmUpSeconds: number;
  /** Distinct request bodies, and the users and queries they are made of. */
  readonly bodies: number;
  readonly users: number;
  readonly queries: number;
  readonly seed: number;
  /** What was set on the server; absent where it ran already. */
  readonly shadowShare?: number;
}

export interface Report {
  readonly conditions: Conditions;
  readonly rows: readonly Row[];
  readonly measurements: readonly Measurement[];
}

/** Every request that was not answered with 2xx, the warm-up's included. */
export function totalErrors({ measurements }: Report): number {
  return measurements.reduce((sum, one) => sum + errorCount(one), 0);
}

/** The report as Markdown: conditions, table, remarks. */
export function formatMarkdown(report: Report): string {
  const parts = [
    '# Load test: closed loop',
    conditionLines(report.conditions),
    formatTable(HEADER, report.rows.map(cellsOf)),
    remarksOn(report.rows, report.measurements)
      .map((remark) => `- ${remark}`)
      .join('\n'),
  ];
  return `${parts.join('\n\n')}\n`;
}

function conditionLines(is: Conditions): string {
  const shadow =
    is.shadowShare === undefined
      ? 'cache and shadow as the server is configured'
      : `no answer cache, shadow share ${is.shadowShare}`;
  return [
    `- command: \`${is.command}\``,
    `- date: ${is.date}`,
    `- machine: ${is.cpu}, ${is.cores} logical cores, shared by the server and the load generator; Node ${is.node}; load average before ${is.loadAverage.toFixed(1)}`,
    `- load: ${is.target}, ${is.endpoint}, ${is.connections} connections, ${is.rounds} rounds of ${is.secondsPerPhase} s after ${is.warmUpSeconds} s of warm-up each`,
    `- requests: ${is.bodies} bodies of ${is.users} users and ${is.queries} queries, seed ${is.seed}, every pass over them in an order of its own, the same sequence in every phase`,
    `- server: ${shadow}`,
    '- closed loop: latency at saturation, not at a rate',
  ].join('\n');
}

const HEADER = [
  'pipeline',
  'variant',
  'requests/s',
  'p50 ms',
  'p90 ms',
  'p99 ms',
  'CPU-µs/request',
  'live overlap@10',
  'graph',
  'shared weights',
  'private memory',
  'answers',
  'errors',
];
const NONE = '–';

function cellsOf(row: Row): readonly string[] {
  const { variant } = row;
  const bytes = (value: number | undefined): string => (value === undefined ? NONE : formatBytes(value));
  return [
    row.name,
    variant?.name ?? NONE,
    figure(row.requestsPerSecond, 1),
    figure(row.p50Ms, 2),
    figure(row.p90Ms, 2),
    figure(row.p99Ms, 2),
    figure(row.cpuMicrosPerRequest, 0),
    variant === undefined ? NONE : formatOverlap(variant),
    bytes(variant?.fileBytes),
    bytes(variant?.sharedWeightBytes),
    bytes(variant?.runner.privateBytes),
    String(row.answers),
    String(row.errors),
  ];
}

function figure(value: number | undefined, digits: number): string {
  return value === undefined ? NONE : value.toFixed(digits);
}

/** Mean with its 95 % interval and the number of requests that were ranked again. */
function formatOverlap({ name, fidelity: { count, overlapAt10 } }: VariantFacts): string {
  if (name === 'full') return 'reference';
  if (overlapAt10 === undefined) return NONE;
  const { mean, low, high } = overlapAt10;
  const bounds = low === undefined || high === undefined ? '' : ` [${low.toFixed(3)}, ${high.toFixed(3)}]`;
  return `${mean.toFixed(3)}${bounds} n=${count}`;
}

/** Decimal units, as storage is sold. */
function formatBytes(bytes: number): string {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return bytes >= 1e3 ? `${(bytes / 1e3).toFixed(1)} kB` : `${bytes} B`;
}
