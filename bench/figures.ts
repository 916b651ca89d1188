import type { RecipeStep } from '../src/compression/passes/index.js';

/** One kind of compression and what is asked of it. */
export interface Figure {
  readonly variant: string;
  readonly recipe: readonly RecipeStep[];
  /** NDCG@10 divided by the full model's, at least. */
  readonly retention: number;
  /** Bytes of what it compresses divided by the full model's, at most. */
  readonly bytes: { readonly of: 'dense' | 'tables' | 'all'; readonly share: number };
  /** Full model's µs at 100 rows divided by its own, at least. */
  readonly timesFaster: number;
}

/** The kinds of compression with their floors. */
export const FIGURES: readonly Figure[] = [
  {
    variant: 'int8-dense',
    recipe: [{ pass: 'quantize-dynamic' }],
    retention: 0.995,
    bytes: { of: 'dense', share: 0.27 },
    timesFaster: 2.5,
  },
  {
    variant: 'int8-tables',
    recipe: [{ pass: 'quantize-tables', bits: 8 }],
    retention: 0.995,
    bytes: { of: 'tables', share: 0.29 },
    timesFaster: 1,
  },
  {
    variant: 'int4-tables',
    recipe: [{ pass: 'quantize-tables', bits: 4 }],
    retention: 0.98,
    bytes: { of: 'tables', share: 0.16 },
    timesFaster: 0.9,
  },
  {
    variant: 'factored-int8-tables',
    recipe: [
      { pass: 'factorise-tables', weightShare: 0.55 },
      { pass: 'quantize-tables', bits: 8 },
    ],
    retention: 0.98,
    bytes: { of: 'tables', share: 0.16 },
    timesFaster: 0.9,
  },
  {
    variant: 'pruned-half',
    recipe: [{ pass: 'prune-structured', allocation: 'global', share: 0.65 }],
    retention: 0.98,
    bytes: { of: 'dense', share: 0.5 },
    timesFaster: 2,
  },
  {
    variant: 'low-rank-half',
    recipe: [{ pass: 'low-rank', weightShare: 0.47 }],
    retention: 0.99,
    bytes: { of: 'dense', share: 0.5 },
    timesFaster: 1.5,
  },
  {
    variant: 'composed',
    recipe: [
      { pass: 'prune-structured', allocation: 'global', share: 0.75 },
      { pass: 'low-rank', weightShare: 0.5 },
      { pass: 'quantize-dynamic' },
      { pass: 'quantize-tables', bits: 8 },
    ],
    retention: 0.97,
    bytes: { of: 'all', share: 0.12 },
    timesFaster: 6,
  },
];
