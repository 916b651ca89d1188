/** Whittle as a library: the engine, its HTTP interface, and the compressor. */
export { completeConfig, createLog, readConfig, silentLog, WhittleError } from './core/index.js';
export type { ServerConfig } from './core/index.js';
export { compress, passes } from './compression/index.js';
export type { CompressionReport, CompressOptions, Passes, Recipe } from './compression/index.js';
export { compressModel, diffModels, parseRecipe, readRecipe } from './compression/index.js';
export { pruneByMagnitude, quantizeUniform, truncatedSvd } from './compression/index.js';
export type { Matrix, TruncatedSvd, UniformQuantization } from './compression/index.js';
export { createServer } from './http/index.js';
export { readModel, writeModel } from './onnx/index.js';
export { openSession } from './runtime/index.js';
export { openEngine } from './serving/index.js';
