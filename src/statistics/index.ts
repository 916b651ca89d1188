export * from './estimate.js';
export * from './mean-statistics.js';
