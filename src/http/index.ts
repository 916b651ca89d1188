export { createServer } from './server.js';
export type { Server } from './server.js';
