export { createServer } from './server.js';
export type { Server } from './server.js';
export { createAdminServer } from './admin/admin-server.js';
export type { AdminServer } from './admin/admin-server.js';
export { Changes } from './admin/changes.js';
export { engineControl, readiness } from './admin/control.js';
export type { AdminControl, GatewayReload, GatewayStatus } from './admin/control.js';
export { readAdminToken } from './admin/token.js';
