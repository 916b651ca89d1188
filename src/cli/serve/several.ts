import type { Log, ServerConfig } from '../../core/index.js';
import { openAdmin, readAdminToken, reloadOnSignal, type Admin } from './admin.js';
import { Gateways } from './gateways.js';
import { GatewaysControl } from './gateways-control.js';
import { ignoreHangup, untilStopSignal } from './signals.js';
import type { Listening } from './single.js';

/** Serves with several gateway processes on one port, which this one supervises, until a signal ends it. */
export async function serveWithGateways(
  config: ServerConfig,
  log: Log,
  quiet: boolean,
  announce: (listening: Listening) => void,
): Promise<void> {
  ignoreHangup();
  const token = await readAdminToken(config.admin);
  const gateways = new Gateways(config, log, quiet);
  let admin: Admin | undefined;
  let cause = 'failure';
  try {
    const url = await gateways.start();
    const control = new GatewaysControl(gateways);
    if (token !== undefined) admin = await openAdmin({ config, token, control, log });
    const hangup = admin?.reload ?? (() => reloadOnSignal(() => control.reload(), log));
    const stopped = untilStopSignal(log, hangup);
    const pids = gateways.serving.map(({ pid }) => pid);
    announce({ url, gateways: pids, ...(admin === undefined ? {} : { adminUrl: admin.url }) });
    cause = await Promise.race([stopped, gateways.lost]);
  } finally {
    await gateways.stop();
    await admin?.close(cause);
  }
}
