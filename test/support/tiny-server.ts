import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { completeConfig, must, silentLog, type ServerConfig } from '../../src/core/index.js';
import { createServer, type Server } from '../../src/http/index.js';
import { openEngine, type Answer, type Engine } from '../../src/serving/index.js';
import { keepAdmissions, lendAdmissions } from './admissions.js';
import { makeTinyBundle, type TinyBundleOptions } from './tiny-bundle.js';

/** Sections of the configuration that a test changes; the bundle and the store are in a folder of the test's own. */
export type TinyConfig = Partial<Record<keyof ServerConfig, unknown>>;

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** The parsed body; throws where it is not JSON. */
  json(): unknown;
  /** The body of a ranking route. */
  answer(): Answer;
  /** The body of a failure. */
  error(): ErrorReply['error'];
}

/** The body of an error response. */
export interface ErrorReply {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly details: Readonly<Record<string, unknown>>;
    readonly retryable: boolean;
    readonly requestId: string;
  };
}

export interface TinyServer {
  readonly engine: Engine;
  readonly server: Server;
  readonly config: ServerConfig;
  get(url: string, headers?: Record<string, string>): Promise<Reply>;
  /** A text body is sent as it is, anything else as JSON. */
  post(url: string, body: unknown, headers?: Record<string, string>): Promise<Reply>;
  /** Process id of a runner. */
  pidOf(runner: string): Promise<number>;
  /** Closes server and engine and removes the folder. */
  stop(): Promise<void>;
}

/** A folder for a bundle and a store, and a configuration of free port that points there. */
export async function tinyConfig(
  changes: TinyConfig = {},
  bundle: TinyBundleOptions = {},
): Promise<{ config: ServerConfig; directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'whittle-test-'));
  await makeTinyBundle(join(directory, 'bundle'), bundle);
  await lendAdmissions(join(directory, 'store'));
  const config = completeConfig({
    bundle: join(directory, 'bundle'),
    server: { port: 0, deadlineMs: 20_000 },
    store: { path: join(directory, 'store') },
    shadow: { share: 0 },
    ...changes,
  });
  return { config, directory };
}

/** The real engine with its runners on the tiny bundle, behind the real server; requests need no port. */
export async function startTinyServer(
  changes: TinyConfig = {},
  bundle: TinyBundleOptions = {},
): Promise<TinyServer> {
  const { config, directory } = await tinyConfig(changes, bundle);
  const engine = await openEngine({ config, log: silentLog });
  await keepAdmissions(join(directory, 'store'));
  const server = await createServer(engine, { config: config.server, log: silentLog, version: '0.0.0' });
  const send = async (
    method: 'GET' | 'POST',
    url: string,
    headers: Record<string, string>,
    payload?: string,
  ): Promise<Reply> => {
    const reply = await server.fastify.inject({
      method,
      url,
      headers,
      ...(payload === undefined ? {} : { payload }),
    });
    const json = (): unknown => reply.json();
    return {
      status: reply.statusCode,
      headers: reply.headers,
      text: reply.body,
      json,
      answer: () => json() as Answer,
      error: () => (json() as ErrorReply).error,
    };
  };
  return {
    engine,
    server,
    config,
    get: (url, headers = {}) => send('GET', url, headers),
    post: (url, body, headers = {}) => {
      const payload = typeof body === 'string' ? body : JSON.stringify(body);
      return send('POST', url, { 'content-type': 'application/json', ...headers }, payload);
    },
    pidOf: async (runner) => {
      const runners = await engine.runners();
      return must(runners.find(({ name }) => name === runner)?.pid, `process of runner ${runner}`);
    },
    stop: async () => {
      await server.close();
      await engine.close();
      await rm(directory, { recursive: true });
    },
  };
}
