import { createLog, must, silentLog, type Log } from '../../core/index.js';
import { createServer, readiness, type Server } from '../../http/index.js';
import { openEngine, type Engine } from '../../serving/index.js';
import { version } from '../version.js';
import { Channel, plainFailure, type Handlers } from './channel.js';
import type { GatewayCalls, StartOrder, SupervisorCalls } from './gateway-calls.js';
import { ignoreHangup, limitStop } from './signals.js';

/** In the environment of a gateway: the id of the process that started it. */
export const GATEWAY_VARIABLE = 'WHITTLE_GATEWAY_OF';

type ToSupervisor = Channel<GatewayCalls, SupervisorCalls>;

interface Serving {
  readonly engine: Engine;
  readonly server: Server;
}

/** Whether this process was started to be a gateway; other managers of processes make cluster workers, too. */
export function isGateway(): boolean {
  return process.env[GATEWAY_VARIABLE] === String(process.ppid);
}

/**
 * Serves as one of several gateways: takes its order from the process that started it, and stops when that says so, at
 * SIGTERM, and when that process is gone.
 */
export async function serveAsGateway(): Promise<void> {
  ignoreHangup();
  // A terminal sends Ctrl-C to the whole process group; the supervising process decides.
  process.on('SIGINT', () => undefined);
  let serving: Serving | undefined;
  let stop: () => void = () => process.exit(0);
  const channel: ToSupervisor = new Channel(
    sendToParent,
    handlersOf(
      () => must(serving, 'engine'),
      () => {
        stop();
      },
    ),
  );
  process.on('message', channel.receive);
  const order = await channel.call('order', undefined);
  const log = order.quiet ? silentLog : createLog({ gateway: process.pid });
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
    process.on('SIGTERM', resolve);
  });
  try {
    serving = await open(order, channel, log);
    await channel.call('started', await serving.server.listen());
    await stopped;
    limitStop(log);
    await serving.server.close();
  } catch (thrown) {
    log.error('gateway_failed', { ...plainFailure(thrown) });
    await channel.call('failed', plainFailure(thrown));
    process.exitCode = 1;
  } finally {
    await serving?.engine.close();
  }
  process.exit();
}

async function open(
  { config, defaultPipeline }: StartOrder,
  channel: ToSupervisor,
  log: Log,
): Promise<Serving> {
  const engine = await openEngine({ config, log });
  try {
    if (defaultPipeline !== undefined) engine.setDefaultPipeline(defaultPipeline);
    const peers = { gather: () => channel.call('gather', undefined) };
    const server = await createServer(engine, {
      config: config.server,
      log,
      version: await version(),
      peers,
    });
    return { engine, server };
  } catch (thrown) {
    await engine.close();
    throw thrown;
  }
}

function handlersOf(serving: () => Serving, stop: () => void): Handlers<GatewayCalls> {
  const engine = (): Engine => serving().engine;
  return {
    status: async () => Promise.resolve({ ...readiness(engine()), serving: engine().status() }),
    report: () => serving().server.report(),
    reload: () => engine().reload(),
    pipelines: async () => Promise.resolve(engine().pipelines()),
    defaultPipeline: async () => Promise.resolve(engine().defaultPipeline()),
    setDefaultPipeline: async (name) => {
      engine().setDefaultPipeline(name);
      return Promise.resolve(undefined);
    },
    setExperiments: async (configs) => {
      engine().setExperiments(configs);
      return Promise.resolve(undefined);
    },
    stop: async () => {
      stop();
      return Promise.resolve(undefined);
    },
  };
}

/** The process that started this one may be gone already; then this one ends, too. */
function sendToParent(message: unknown): void {
  process.send?.(message, undefined, undefined, (error) => {
    if (error !== null) process.exit(1);
  });
}
