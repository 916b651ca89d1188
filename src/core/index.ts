export * from './errors.js';
export * from './tensor.js';
export * from './session.js';
export * from './random.js';
export * from './hash.js';
export * from './log.js';
