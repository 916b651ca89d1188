/** A whole server in a process of its own, to be killed: argv is its configuration. Prints its URL and runners. */
import { completeConfig, silentLog } from '../../src/core/index.js';
import { createServer } from '../../src/http/index.js';
import { openEngine } from '../../src/serving/index.js';

const config = completeConfig(JSON.parse(process.argv[2] ?? '{}'));
const engine = await openEngine({ config, log: silentLog });
const server = await createServer(engine, { config: config.server, log: silentLog, version: '0.0.0' });
const url = await server.listen();
const runners = await engine.runners();
console.log(JSON.stringify({ url, runnerPids: runners.map(({ pid }) => pid) }));
