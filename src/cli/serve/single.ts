import type { Log, ServerConfig } from '../../core/index.js';
import { createServer, engineControl } from '../../http/index.js';
import { openEngine } from '../../serving/index.js';
import { version } from '../version.js';
import { openAdmin, readAdminToken, reloadOnSignal, type Admin } from './admin.js';
import { ignoreHangup, untilStopSignal } from './signals.js';

/** Where a started server listens. */
export interface Listening {
  readonly url: string;
  readonly adminUrl?: string;
  /** Processes of the gateways. */
  readonly gateways: readonly number[];
}

/** Serves with this process as the only gateway, until a signal ends it. */
export async function serveAlone(
  config: ServerConfig,
  log: Log,
  announce: (listening: Listening) => void,
): Promise<void> {
  ignoreHangup();
  const token = await readAdminToken(config.admin);
  const engine = await openEngine({ config, log });
  let admin: Admin | undefined;
  let cause = 'failure';
  try {
    const control = engineControl(engine);
    if (token !== undefined) admin = await openAdmin({ config, token, control, log });
    const server = await createServer(engine, { config: config.server, log, version: await version() });
    const url = await server.listen();
    const hangup = admin?.reload ?? (() => reloadOnSignal(() => control.reload(), log));
    const stopped = untilStopSignal(log, hangup);
    announce({ url, gateways: [process.pid], ...(admin === undefined ? {} : { adminUrl: admin.url }) });
    cause = await stopped;
    await server.close();
  } finally {
    await admin?.close(cause);
    await engine.close();
  }
}
