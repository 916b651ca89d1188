export * from './errors.js';
export * from './tensor.js';
export * from './session.js';
export * from './random.js';
export * from './hash.js';
export * from './log.js';
export type * from './bundle.js';
export type * from './config.js';
