import fastify from 'fastify';
import { WhittleError, type AdminConfig, type Log } from '../../core/index.js';
import { sendError } from '../errors.js';
import { listen } from '../listen.js';
import { compileValidator } from '../validator.js';
import { Guard, isLoopback } from './guard.js';
import { adminRoutes, type AdminParts } from './routes.js';

const BODY_LIMIT_BYTES = 262_144;
const REQUEST_TIMEOUT_MS = 10_000;

export interface AdminServerOptions extends AdminParts {
  readonly config: AdminConfig;
  readonly token: string;
  readonly log: Log;
}

export interface AdminServer {
  /** Answers the URL it listens on. @throws PORT_IN_USE; CONFIG_INVALID. */
  listen(): Promise<string>;
  close(): Promise<void>;
}

/**
 * The admin interface, on a listener of its own that only this machine reaches.
 * @throws CONFIG_INVALID where its host is not a loopback address.
 */
export async function createAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { config, token, log } = options;
  checkHost(config.host);
  const guard = new Guard(token, log);
  const app = fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply, log),
  });
  app.removeContentTypeParser('text/plain');
  app.setValidatorCompiler(compileValidator);
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, log));
  app.setNotFoundHandler((request) => {
    throw new WhittleError('NOT_FOUND', `There is no ${request.method} ${request.url.slice(0, 200)}`, {
      field: 'url',
    });
  });
  app.addHook('onRequest', (request, _reply, done) => {
    guard.check(request);
    done();
  });
  adminRoutes(app, options);
  await app.ready();
  return { listen: () => listen(app, { ...config, section: 'admin' }), close: () => app.close() };
}

function checkHost(host: string): void {
  if (isLoopback(host)) return;
  const advice = 'reach it from elsewhere through an SSH tunnel';
  throw new WhittleError(
    'CONFIG_INVALID',
    `admin.host ${host}: only a loopback address is allowed; ${advice}`,
    {
      field: 'admin.host',
      value: host,
      allowed: ['127.0.0.1', '::1', 'localhost'],
    },
  );
}
