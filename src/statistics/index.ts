export * from './chi-square.js';
export * from './estimate.js';
export * from './mean-statistics.js';
export * from './non-inferiority.js';
export * from './pair-statistics.js';
export * from './quantiles.js';
export * from './ratio-statistics.js';
export * from './sample-ratio.js';
