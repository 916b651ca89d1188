export { openEngine } from './engine.js';
export type { EngineOptions } from './engine.js';
export type * from './types.js';
