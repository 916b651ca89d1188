import { createLog } from '../../src/core/index.js';
import { Supervisor } from '../../src/runtime/index.js';

/**
 * A gateway in a process of its own: argv is the runner's entry, its spec, and whether to exit while the runner hangs.
 * It says when it is ready.
 */
const [, , entry = '', spec = '{}', mode] = process.argv;
const supervisor = new Supervisor({
  name: 'orphan',
  entry,
  spec: JSON.parse(spec) as unknown,
  execArgv: ['--import', 'tsx'],
  hangTimeoutMs: 60_000,
  log: createLog({}, (line) => {
    if (line.includes('spinning')) process.exit();
  }),
});
await supervisor.start();
console.log('ready');
if (mode === 'exit-while-hung') await supervisor.run({ meta: { command: 'spin' }, tensors: {} });
