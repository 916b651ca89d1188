export { openStore } from './store.js';
export type * from './types.js';
