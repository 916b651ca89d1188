import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import fastify, { type FastifyInstance } from 'fastify';
import { WhittleError, type Log, type ServerConfig } from '../core/index.js';
import type { Endpoint, Engine } from '../serving/index.js';
import { Drain } from './drain.js';
import { sendError } from './errors.js';
import { Gate } from './gate.js';
import { listen } from './listen.js';
import { Metrics } from './metrics.js';
import { answerBroken, createNodeServer } from './node-server.js';
import { mergeExperiments, mergeMetrics, mergeVariants, type GatewayReport, type Peers } from './peers.js';
import { readBody } from './read-body.js';
import { eventRoutes } from './routes/events.js';
import { healthRoutes } from './routes/health.js';
import { rankingRoutes } from './routes/ranking.js';
import { statusRoutes, type StatusView } from './routes/status.js';
import { REQUEST_ID_PATTERN } from './schemas/fields.js';
import { compileValidator } from './validator.js';

/** Requests, refused ones too, that a connection may have without an answer; one that has more is cut off. */
const MAX_UNANSWERED = 512;
/** Time beyond the deadline that open requests get when the server closes. */
const DRAIN_MARGIN_MS = 5_000;

export interface ServerOptions {
  readonly config: ServerConfig['server'];
  readonly log: Log;
  /** Whittle's version, shown on the API's page. */
  readonly version: string;
  /** Where given, status and metrics are those of all gateways that share the port. */
  readonly peers?: Peers;
}

export interface Server {
  readonly fastify: FastifyInstance;
  /** Answers the URL it listens on. @throws PORT_IN_USE; CONFIG_INVALID for a host or port it may not use. */
  listen(): Promise<string>;
  /** Refuses new requests, lets open ones finish within their deadline, closes. The engine stays open. */
  close(): Promise<void>;
  /** What this gateway alone has to say. */
  report(): Promise<GatewayReport>;
}

/** The HTTP interface of an engine. Nothing listens before `listen`. */
export async function createServer(engine: Engine, options: ServerOptions): Promise<Server> {
  const { config, log, version, peers } = options;
  const metrics = new Metrics(engine);
  const shown = shownOf(engine, metrics, peers);
  const drain = new Drain();
  const app = openFastify(config, log, drain, metrics);
  addHooks(app, drain, metrics);
  addGate(app, new Gate(engine, drain, config, metrics.countRefusal));
  await addPages(app, version);
  // Routes come after the page's plugin is loaded, which collects them.
  await app.register((scope, _options, done) => {
    rankingRoutes(scope, engine);
    eventRoutes(scope, engine);
    statusRoutes(scope, engine, shown);
    healthRoutes(scope, shown, () => (drain.draining ? 'the server is stopping' : engine.notReadyReason()));
    done();
  });
  await app.ready();
  return {
    fastify: app,
    listen: () => listen(app, { ...config, section: 'server' }),
    close: async () => {
      await drain.drain(config.deadlineMs + DRAIN_MARGIN_MS);
      await app.close();
    },
    report: async () => ({
      pid: process.pid,
      variants: await engine.variants(),
      experiments: engine.experiments(),
      metrics: await metrics.collect(),
    }),
  };
}

/** Status and metrics of this gateway, or of all where there are others. */
function shownOf(
  engine: Engine,
  metrics: Metrics,
  peers: Peers | undefined,
): StatusView & Pick<Metrics, 'contentType' | 'scrape'> {
  const { contentType } = metrics;
  if (peers === undefined) {
    return {
      contentType,
      scrape: () => metrics.scrape(),
      variants: () => engine.variants(),
      experiments: () => Promise.resolve(engine.experiments()),
    };
  }
  return {
    contentType,
    scrape: async () => mergeMetrics(await peers.gather()),
    variants: async () => mergeVariants((await peers.gather()).reports),
    experiments: async () => mergeExperiments((await peers.gather()).reports),
  };
}

function openFastify(
  config: ServerConfig['server'],
  log: Log,
  drain: Drain,
  metrics: Metrics,
): FastifyInstance {
  const app = fastify({
    bodyLimit: config.bodyLimitBytes,
    serverFactory: (handler) => createNodeServer(config, drain, handler),
    genReqId: requestIdOf,
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply, log),
    clientErrorHandler: (error, socket) => {
      answerBroken(error, socket, drain, (status) => metrics.countResponse(undefined, status));
    },
  });
  app.removeContentTypeParser('text/plain');
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', (request, payload, done) => {
    readBody(payload, config.bodyLimitBytes, (error, body) => {
      if (error !== null) done(error);
      else void parseJson(request, body?.toString('utf8') ?? '', done);
    });
  });
  app.setValidatorCompiler(compileValidator);
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, log));
  app.setNotFoundHandler((request, reply) => {
    const route = `${request.method} ${request.url}`;
    const error = new WhittleError('NOT_FOUND', `There is no ${route.slice(0, 200)}; see /docs`, {
      field: 'url',
    });
    metrics.countResponse(undefined, error.status);
    return sendError(error, request, reply, log);
  });
  return app;
}

const ENDPOINTS = new Map<string, Endpoint>([
  ['/v1/recommend', 'recommend'],
  ['/v1/search', 'search'],
  ['/v1/rank', 'rank'],
]);
const requestIdPattern = new RegExp(REQUEST_ID_PATTERN);

function requestIdOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && requestIdPattern.test(given) ? given : randomUUID();
}

function addHooks(app: FastifyInstance, drain: Drain, metrics: Metrics): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { socket } = request.raw;
    // Nothing can be answered on a connection that was ended: a request behind the one that closed it is dropped.
    if (socket.writableEnded || socket.destroyed) {
      reply.hijack();
      return;
    }
    if (drain.pendingOf(socket) >= MAX_UNANSWERED) {
      socket.destroy();
      reply.hijack();
      return;
    }
    drain.enter(socket, reply.raw);
    reply.header('x-request-id', request.id);
    done();
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    // Answers before the last of a connection must not close it.
    if (drain.draining && drain.pendingOf(request.raw.socket) === 1) reply.header('connection', 'close');
    done(null, payload);
  });
  app.addHook('onRoute', (route) => {
    const label = route.url.startsWith('/docs') ? '/docs' : route.url;
    route.onResponse = (_request, reply, done) => {
      metrics.countResponse(label, reply.statusCode);
      done();
    };
  });
}

/** Every route that serves clients starts at the gate; health and pages only have their place in the queue. */
function addGate(app: FastifyInstance, gate: Gate): void {
  app.addHook('onRoute', (route) => {
    route.onRequest = route.url.startsWith('/v1/') ? gate.hook(ENDPOINTS.get(route.url)) : gate.crowdHook;
  });
}

async function addPages(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Whittle',
        version,
        description: 'Serves a ranking model and its compressed variants side by side.',
      },
    },
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
}
