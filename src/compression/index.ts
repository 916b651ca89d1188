export type { Basis, LayerChange, LeftLayer, Pass, PassContext, PassReport, PassResult } from './pass.js';
export { quantizeDynamic } from './quantize-dynamic.js';
export type { QuantizeDynamicParameters } from './quantize-dynamic.js';
export { pruneStructured } from './prune-structured.js';
export type { PruneStructuredParameters } from './prune-structured.js';
export { lowRank } from './low-rank.js';
export type { LowRankParameters } from './low-rank.js';
