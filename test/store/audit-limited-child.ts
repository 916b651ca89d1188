import { silentLog, toWhittleError } from '../../src/core/index.js';
import { AuditLog } from '../../src/store/index.js';

/** Makes changes until the disk takes no more, and reports which were made and what was said. */
const [path = ''] = process.argv.slice(2);
const audit = await AuditLog.open(path, silentLog);
const made: number[] = [];
let failure: string | undefined;
for (let change = 0; failure === undefined; change++) {
  const after = { change, text: 'x'.repeat(300) };
  await audit
    .change({ actor: { name: 'test' }, action: 'note', after }, () => Promise.resolve(made.push(change)))
    .catch((thrown: unknown) => {
      const { code, details } = toWhittleError(thrown);
      failure = `${code} ${JSON.stringify(details['outcome'] ?? 'not made')}`;
    });
}
process.send?.({ made: made.length, failure, head: audit.head });
await audit.close();
process.disconnect();
