export * from './assignment.js';
export * from './distinct-counter.js';
export * from './experiments.js';
export * from './murmur3.js';
export * from './moved-share.js';
