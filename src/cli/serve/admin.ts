import { toWhittleError, type Log, type ServerConfig } from '../../core/index.js';
import {
  Changes,
  createAdminServer,
  readAdminToken,
  type AdminControl,
  type AdminServer,
} from '../../http/index.js';
import { AuditLog } from '../../store/index.js';
import { version } from '../version.js';

const SERVER = { name: 'server' };

/** The admin interface of a running server, with its log of changes. */
export interface Admin {
  readonly url: string;
  /** A reload on a signal. Never rejects: the log and the audit log say what came of it. */
  readonly reload: () => Promise<void>;
  /** Notes the stop, then closes. @param cause the signal, for example. */
  close(cause: string): Promise<void>;
}

/** What the admin interface needs to open. */
export interface AdminOptions {
  readonly config: ServerConfig;
  readonly token: string;
  readonly control: AdminControl;
  readonly log: Log;
}

export { readAdminToken };

/**
 * Opens audit log and listener, and notes the start.
 * @throws CONFIG_INVALID, PORT_IN_USE, FILE_CORRUPT, FILE_UNWRITABLE.
 */
export async function openAdmin({ config, token, control, log }: AdminOptions): Promise<Admin> {
  const audit = await AuditLog.open(config.admin.auditPath, log);
  let server: AdminServer | undefined;
  try {
    const changes = new Changes(control, audit);
    const parts = { control, changes, audit, version: await version() };
    server = await createAdminServer({ ...parts, config: config.admin, token, log });
    const url = await server.listen();
    await audit.append({ actor: SERVER, action: 'server.start', outcome: 'noted', after: startOf(config) });
    return openedAdmin(url, changes, audit, server, log);
  } catch (thrown) {
    await server?.close();
    await audit.close();
    throw thrown;
  }
}

function openedAdmin(url: string, changes: Changes, audit: AuditLog, server: AdminServer, log: Log): Admin {
  return {
    url,
    reload: () => reloadOnSignal(() => changes.reload({ name: 'signal' }), log),
    close: async (cause) => {
      await server.close();
      try {
        await audit.append({ actor: SERVER, action: 'server.stop', outcome: 'noted', after: { cause } });
      } catch (thrown) {
        log.error('audit.stop_not_logged', { reason: String(thrown) });
      }
      await audit.close();
    },
  };
}

/** What a start puts in force. */
function startOf({ bundle, gateways, experiments }: ServerConfig): object {
  return { pid: process.pid, bundle, gateways, experiments };
}

/** A reload that nobody waits for: only the log can say what came of it. */
export async function reloadOnSignal(reload: () => Promise<unknown>, log: Log): Promise<void> {
  try {
    log.info('reload_on_signal', { outcome: await reload() });
  } catch (thrown) {
    const { code, message } = toWhittleError(thrown);
    log.error('reload_on_signal_failed', { code, message });
  }
}
