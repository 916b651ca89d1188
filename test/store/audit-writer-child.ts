import { createLog } from '../../src/core/index.js';
import { AuditLog } from '../../src/store/index.js';

/** Appends entries for ever, four at a time, and reports the number of each once it is durable. */
const [path = ''] = process.argv.slice(2);
const audit = await AuditLog.open(
  path,
  createLog({}, () => undefined),
);

async function writeForEver(): Promise<never> {
  for (;;) {
    const actor = { name: 'test' };
    const line = await audit.append({ actor, action: 'note', outcome: 'noted', after: 'x'.repeat(2_000) });
    process.send?.(line.sequence);
  }
}

process.send?.(0);
await Promise.all([writeForEver(), writeForEver(), writeForEver(), writeForEver()]);
