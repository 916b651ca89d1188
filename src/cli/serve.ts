import type { Command } from 'commander';
import {
  completeConfig,
  createLog,
  readConfig,
  silentLog,
  WhittleError,
  type ServerConfig,
} from '../core/index.js';
import { createServer } from '../http/index.js';
import { openEngine } from '../serving/index.js';
import { createOutput, type Output } from './output.js';
import { parseWholeNumber } from './options.js';
import { version } from './version.js';

interface ServeOptions {
  readonly config?: string;
  readonly host?: string;
  readonly port?: number;
  readonly verify?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** `whittle serve`: the gateway with its runners, until a signal ends it. */
export function serveCommand(program: Command): void {
  program
    .command('serve')
    .summary('serve a bundle: gateway, runners, experiments')
    .description('Starts the gateway on a bundle and one runner process for each variant and retriever.')
    .argument('[bundle]', 'folder of the bundle (default: what the configuration names)')
    .option(
      '--config <file>',
      'configuration in YAML or JSON; every field has a default (docs/configuration.md)',
    )
    .option('--host <host>', 'address to listen on (default: 127.0.0.1)')
    .option('--port <port>', 'port to listen on, 0 for any free one (default: 8080)', parseWholeNumber)
    .option('--verify', 'read every file and try out every model, also those that an earlier start checked')
    .option('--quiet', 'no log lines')
    .option('--json', 'print one line {"event":"listening","url":…,"pid":…} when ready')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle serve models/demo\n  $ whittle serve models/movielens --config whittle.yaml --port 9000\n',
    )
    .action((bundle: string | undefined, options: ServeOptions) => serve(bundle, options));
}

async function serve(bundle: string | undefined, options: ServeOptions): Promise<void> {
  const output = createOutput(options.json ?? false);
  const config = await serveConfig(bundle, options);
  const log = options.quiet === true ? silentLog : createLog();
  const engine = await openEngine({ config, log });
  try {
    const server = await createServer(engine, { config: config.server, log, version: await version() });
    const url = await server.listen();
    announce(output, url, config);
    await untilSignal();
    await server.close();
  } finally {
    await engine.close();
  }
}

/** Flags win over the file, the file over the defaults. */
async function serveConfig(
  bundle: string | undefined,
  { config: path, host, port, verify }: ServeOptions,
): Promise<ServerConfig> {
  const base = path === undefined ? completeConfig({}) : await readConfig(path);
  const config = {
    ...base,
    ...(bundle === undefined ? {} : { bundle }),
    verify: verify ?? base.verify,
    server: {
      ...base.server,
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
    },
  };
  if (config.server.port > 65_535) {
    throw new WhittleError('USAGE_INVALID', `--port ${config.server.port}: a port is 0 to 65535`, {
      field: 'port',
    });
  }
  return config;
}

function announce(output: Output, url: string, config: ServerConfig): void {
  const experiments = config.experiments
    .filter(({ enabled }) => enabled)
    .map(({ name, arms }) => `${name} (${arms.map((arm) => arm.name).join(', ')})`);
  output.result(
    { event: 'listening', url, pid: process.pid, bundle: config.bundle },
    [
      `Whittle serves ${config.bundle}`,
      `  API and its page  ${url}/docs`,
      `  variants          ${url}/v1/variants`,
      `  experiments       ${url}/v1/experiments ${experiments.length === 0 ? '(none running)' : experiments.join(', ')}`,
      `  metrics           ${url}/metrics`,
      `  readiness         ${url}/readyz`,
      'Ctrl-C stops it.',
    ].join('\n'),
  );
}

function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      resolve();
    };
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
  });
}
