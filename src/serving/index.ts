export { openEngine } from './engine.js';
export type * from './types.js';
export type { BundleEngine } from './engine.js';
export { calibrationFeeds, calibrationJobs } from './calibration.js';
