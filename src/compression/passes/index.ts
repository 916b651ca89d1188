import type { PassDefinition } from '../pass.js';
import { dynamicBatchPass } from './dynamic-batch.js';
import { factoriseTablesPass } from './factorise-tables.js';
import { lowRankPass } from './low-rank.js';
import { mergeRareRowsPass } from './merge-rare-rows.js';
import { pruneHeadsPass } from './prune-heads.js';
import { pruneStructuredPass } from './prune-structured.js';
import { pruneUnstructuredPass } from './prune-unstructured.js';
import { quantizeDynamicPass } from './quantize-dynamic.js';
import { quantizeStaticPass } from './quantize-static.js';
import { quantizeTablesPass } from './quantize-tables.js';
import { quantizeWeightsPass } from './quantize-weights.js';
import { simplifyPass } from './simplify.js';

/** Every pass by the name that recipes use. */
export const PASSES = {
  simplify: simplifyPass,
  'quantize-dynamic': quantizeDynamicPass,
  'quantize-static': quantizeStaticPass,
  'quantize-tables': quantizeTablesPass,
  'merge-rare-rows': mergeRareRowsPass,
  'quantize-weights': quantizeWeightsPass,
  'prune-structured': pruneStructuredPass,
  'prune-heads': pruneHeadsPass,
  'prune-unstructured': pruneUnstructuredPass,
  'low-rank': lowRankPass,
  'factorise-tables': factoriseTablesPass,
  'dynamic-batch': dynamicBatchPass,
} as const;

export type PassName = keyof typeof PASSES;

type ParametersOf<Definition> = Definition extends PassDefinition<infer Parameters> ? Parameters : never;

/** A pass by name with its parameters; one that is absent has the pass's default. */
export type RecipeStep = {
  [Name in PassName]: { readonly pass: Name } & ParametersOf<(typeof PASSES)[Name]>;
}[PassName];
