export { openStore } from './store.js';
export type * from './types.js';
export { AuditLog } from './audit-log.js';
export type { AuditActor, AuditEntry, AuditHead, AuditLine } from './audit-chain.js';
export { verifyAuditLog } from './audit-verify.js';
export type { AuditReport } from './audit-verify.js';
