import type { Command } from 'commander';
import {
  completeConfig,
  createLog,
  readConfig,
  silentLog,
  WhittleError,
  type ServerConfig,
} from '../core/index.js';
import { createOutput, type Output } from './output.js';
import { parseCount, parseWholeNumber } from './options.js';
import { isGateway, serveAsGateway } from './serve/gateway.js';
import { serveWithGateways } from './serve/several.js';
import { serveAlone, type Listening } from './serve/single.js';

interface ServeOptions {
  readonly config?: string;
  readonly host?: string;
  readonly port?: number;
  readonly adminPort?: number;
  readonly gateways?: number;
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
    .option(
      '--admin-port <port>',
      'port of the admin interface, which WHITTLE_ADMIN_TOKEN or admin.tokenFile switches on (default: 8081)',
      parseWholeNumber,
    )
    .option('--gateways <count>', 'gateway processes that share the port (default: 1)', parseCount)
    .option('--verify', 'read every file and try out every model, also those that an earlier start checked')
    .option('--quiet', 'no log lines')
    .option('--json', 'print one line {"event":"listening","url":…,"pid":…} when ready')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle serve models/demo\n  $ whittle serve models/movielens --config whittle.yaml --port 9000\n  $ whittle serve models/demo --gateways 2 --admin-port 8090\n',
    )
    .action((bundle: string | undefined, options: ServeOptions) => serve(bundle, options));
}

async function serve(bundle: string | undefined, options: ServeOptions): Promise<void> {
  // A gateway is started with the same command; its orders come from the process that started it.
  if (isGateway()) return serveAsGateway();
  const output = createOutput(options.json ?? false);
  const config = await serveConfig(bundle, options);
  const quiet = options.quiet ?? false;
  const log = quiet ? silentLog : createLog();
  const say = (listening: Listening): void => {
    announce(output, listening, config);
  };
  if (config.gateways === 1) await serveAlone(config, log, say);
  else await serveWithGateways(config, log, quiet, say);
}

/** Flags win over the file, the file over the defaults. */
async function serveConfig(
  bundle: string | undefined,
  { config: path, host, port, adminPort, gateways, verify }: ServeOptions,
): Promise<ServerConfig> {
  const base = path === undefined ? completeConfig({}) : await readConfig(path);
  checkPort('port', port);
  checkPort('admin-port', adminPort);
  return {
    ...base,
    ...(bundle === undefined ? {} : { bundle }),
    ...(gateways === undefined ? {} : { gateways }),
    verify: verify ?? base.verify,
    server: {
      ...base.server,
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
    },
    admin: { ...base.admin, ...(adminPort === undefined ? {} : { port: adminPort }) },
  };
}

function checkPort(flag: string, port: number | undefined): void {
  if (port === undefined || port <= 65_535) return;
  throw new WhittleError('USAGE_INVALID', `--${flag} ${port}: a port is 0 to 65535`, { field: flag });
}

function announce(output: Output, { url, adminUrl, gateways }: Listening, config: ServerConfig): void {
  const experiments = config.experiments
    .filter(({ enabled }) => enabled)
    .map(({ name, arms }) => `${name} (${arms.map((arm) => arm.name).join(', ')})`);
  const { pid } = process;
  const admin = adminUrl === undefined ? {} : { adminUrl };
  output.result(
    { event: 'listening', url, pid, bundle: config.bundle, gateways, ...admin },
    [
      `Whittle serves ${config.bundle}${gateways.length === 1 ? '' : ` with ${gateways.length} gateways`}`,
      `  API and its page  ${url}/docs`,
      `  variants          ${url}/v1/variants`,
      `  experiments       ${url}/v1/experiments ${experiments.length === 0 ? '(none running)' : experiments.join(', ')}`,
      `  metrics           ${url}/metrics`,
      `  readiness         ${url}/readyz`,
      `  admin             ${adminUrl === undefined ? 'off; WHITTLE_ADMIN_TOKEN switches it on' : `${adminUrl}/admin/status`}`,
      'Ctrl-C stops it.',
    ].join('\n'),
  );
}
