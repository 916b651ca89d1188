import { constantInfo } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { findLookups } from '../graph/lookups.js';
import type { LookupTable } from '../graph/lookups.js';
import { greatestRankOf } from '../low-rank/weight-group.js';
import type { PassName } from '../passes/index.js';
import { figuresOf, MIN_CUT_WEIGHTS, MIN_WEIGHTS, UNCHANGED } from './subject.js';
import type { Gain, Saving, Subject } from './subject.js';
import { WeightLedger } from './weight-ledger.js';

interface TableMethod {
  readonly recipe: string;
  readonly pass: PassName;
  readonly fits: (table: LookupTable) => boolean;
  /** Null where that depends on requests. */
  readonly bytes: ((table: LookupTable) => number) | null;
  readonly gain: Gain;
  readonly needsRequests: boolean;
}

function lookups(subject: Subject, { fits, bytes, gain, ...method }: TableMethod): Saving {
  const { model } = subject;
  const found = findLookups(model);
  const fitting = found.tables.filter(fits);
  const ledger = new WeightLedger(model);
  for (const table of fitting) {
    const [{ node, scope }] = table.lookups;
    const readers = new Set(table.lookups.map((lookup) => lookup.node));
    ledger.replace(scope, node.inputs[0] ?? '', { readers, bytes: bytes?.(table) ?? 0 });
  }
  const counts = {
    takes: fitting.length,
    of: found.tables.length + found.left.length,
    unit: 'tables',
  } as const;
  const figures = { ...figuresOf(subject, []), timesFaster: gain };
  return { ...method, ...counts, bytes: bytes === null ? null : ledger.bytes, ...figures };
}

/** Tables in 8 or 4 bits. */
export function tables(subject: Subject, bits: 8 | 4): Saving {
  const opset = subject.model.opsets.get('') ?? 0;
  return lookups(subject, {
    recipe: `int${bits}tables`,
    pass: 'quantize-tables',
    fits: ({ rows, width }) => rows * width >= MIN_WEIGHTS && opset >= (bits === 8 ? 7 : 11),
    bytes: ({ rows, width, dims }) => {
      const inner = dims.at(-1) ?? 1;
      // A float16 scale a row; 4 bits have an offset beside it.
      return bits === 8 ? rows * (width + 2) : rows * ((width / inner) * Math.ceil(inner / 2) + 4);
    },
    gain: bits === 8 ? UNCHANGED : { low: 0.9, high: 1 },
    needsRequests: false,
  });
}

function canFactorise({ dtype, dims, rows, width, lookups: readers }: LookupTable, model: Model): boolean {
  const seen = readers.every(({ scope }) => scope.outer === undefined);
  const opset = model.opsets.get('') ?? 0;
  const plain = dtype === 'float32' && dims.length === 2 && rows * width >= MIN_CUT_WEIGHTS;
  return plain && seen && opset >= 7 && greatestRankOf(rows, width) > 0;
}

/** Tables as products. */
export function factorised(subject: Subject): Saving {
  return lookups(subject, {
    recipe: 'factorise-tables',
    pass: 'factorise-tables',
    fits: (table) => canFactorise(table, subject.model),
    bytes: ({ rows, width }) => 2 * rows * width,
    gain: { low: 0.9, high: 1 },
    needsRequests: true,
  });
}

/** Tables without the rows that requests rarely look up. */
export function merged(subject: Subject): Saving {
  const { graph } = subject.model;
  return lookups(subject, {
    recipe: 'merge-rare-rows',
    pass: 'merge-rare-rows',
    fits: ({ dtype, rows, width, lookups: readers }) =>
      dtype === 'float32' &&
      rows * width >= MIN_WEIGHTS &&
      readers.every(
        ({ scope, node }) =>
          scope.outer === undefined &&
          node.op === 'Gather' &&
          constantInfo(graph, node.inputs[0] ?? '') !== undefined,
      ),
    bytes: null,
    gain: UNCHANGED,
    needsRequests: true,
  });
}
