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

export const FIGURES: readonly Figure[] = [
  {
    variant: 'int8-dense',
    recipe: [{ pass: 'quantize-dynamic' }],
    retention: 0.995,
    bytes: { of: 'dense', share: 0.27 },
    timesFaster: 2.5,
  },
];
