import { readFile } from 'node:fs/promises';
import type { Schema } from 'ajv';
import type { ServerConfig } from './config.js';
import { WhittleError } from './errors.js';
import { schemaCheck } from './schema.js';

const count = (initial: number, maximum = Number.MAX_SAFE_INTEGER, minimum = 1): Record<string, unknown> => ({
  type: 'integer',
  minimum,
  maximum,
  default: initial,
});
const section = (
  properties: Record<string, unknown>,
  required: readonly string[] = [],
): Record<string, unknown> => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
  ...(required.length === 0 ? { default: {} } : {}),
});
const text = { type: 'string', minLength: 1 };
const positive = (initial: number): Record<string, unknown> => ({
  type: 'number',
  exclusiveMinimum: 0,
  default: initial,
});
const unlimited = { type: 'number', minimum: 0, default: 0 };

const arm = section({ name: text, weight: { type: 'number', minimum: 0 }, pipeline: text }, [
  'name',
  'weight',
  'pipeline',
]);
const experiment = section(
  {
    name: text,
    salt: text,
    enabled: { type: 'boolean', default: true },
    arms: { type: 'array', minItems: 1, items: arm },
  },
  ['name', 'salt', 'arms'],
);

/** JSON schema of the list of experiments, wherever one is given. */
export const experimentsSchema = { type: 'array', items: experiment };

/** Longest time that a timer can wait, milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const configSchema = {
  type: 'object',
  additionalProperties: false,
  required: [],
  properties: {
    bundle: { ...text, default: 'models/demo' },
    verify: { type: 'boolean', default: false },
    server: section({
      host: { ...text, default: '127.0.0.1' },
      port: count(8080, 65_535, 0),
      bodyLimitBytes: count(1_048_576),
      deadlineMs: count(1_000),
      maxConnections: count(20_000),
      headersTimeoutMs: count(10_000, MAX_TIMER_MS),
      requestTimeoutMs: count(30_000, MAX_TIMER_MS),
      keepAliveTimeoutMs: count(72_000, MAX_TIMER_MS),
      clients: section({
        header: text,
        requestsPerSecond: unlimited,
        burst: count(10),
        maxConcurrent: { ...unlimited, type: 'integer' },
      }),
    }),
    gateways: count(1, 64),
    admin: section({
      host: { ...text, default: '127.0.0.1' },
      port: count(8081, 65_535, 0),
      tokenFile: text,
      auditPath: { ...text, default: '.whittle/audit.jsonl' },
    }),
    overload: section({
      p99Ms: positive(20),
      adaptive: { type: 'boolean', default: true },
      degradation: section({
        enabled: { type: 'boolean', default: false },
        queueMs: positive(10),
        retentionFloor: { type: 'number', minimum: 0, maximum: 1, default: 0.98 },
        minPairs: count(200),
      }),
    }),
    runners: section({
      perVariant: { anyOf: [{ type: 'integer', minimum: 1, maximum: 64 }, { const: 'auto' }], default: 1 },
      maxBatchRows: count(1_600),
      maxBatchRequests: count(64, 1_024),
      queueLimit: count(256),
      threads: count(1, 256),
      hangTimeoutMs: { type: 'integer', minimum: 1 },
      maxCrashesPerMinute: count(3),
      openTimeoutMs: count(30_000),
      openMemoryBytes: count(2 * 2 ** 30),
    }),
    store: section({ path: { ...text, default: '.whittle/store' } }),
    cache: section({ maxEntries: count(10_000, 10_000_000, 0), ttlMs: count(60_000) }),
    shadow: section({
      share: { type: 'number', minimum: 0, maximum: 1, default: 0.05 },
    }),
    experiments: { ...experimentsSchema, default: [] },
  },
} as Schema;

/** The configuration as the schema leaves it: one default follows from another field. */
type CheckedConfig = Omit<ServerConfig, 'runners'> & {
  readonly runners: Omit<ServerConfig['runners'], 'hangTimeoutMs'> & { readonly hangTimeoutMs?: number };
};

/** By then the deadline of every request in a run has passed, and of most that wait behind it. */
const HANG_DEADLINES = 2;

const checkConfig = schemaCheck<CheckedConfig>(configSchema, 'CONFIG_INVALID', 'configuration');

/** The configuration with every default filled in. @throws CONFIG_INVALID naming the field and what is allowed. */
export function completeConfig(partial: unknown): ServerConfig {
  const config = withHangTimeout(checkConfig(structuredClone(partial ?? {})));
  for (const { name, arms } of config.experiments) {
    const repeated = arms.find((one, place) => arms.findIndex((other) => other.name === one.name) !== place);
    if (repeated !== undefined) throw invalidExperiment(name, `arm ${repeated.name} stands twice`);
    if (!arms.some((one) => one.weight > 0))
      throw invalidExperiment(name, 'every arm has weight 0; one needs more');
  }
  checkDegradation(config);
  return config;
}

/** Without shadows no retention is ever known, and nothing could take over. */
function checkDegradation({ overload, shadow }: ServerConfig): void {
  if (!overload.degradation.enabled || shadow.share > 0) return;
  throw new WhittleError(
    'CONFIG_INVALID',
    'shadow.share: overload.degradation needs shadows to know what quality a pipeline keeps',
    { field: 'shadow.share', value: shadow.share, allowed: 'above 0 while overload.degradation is enabled' },
  );
}

function withHangTimeout(config: CheckedConfig): ServerConfig {
  const { hangTimeoutMs = HANG_DEADLINES * config.server.deadlineMs } = config.runners;
  return { ...config, runners: { ...config.runners, hangTimeoutMs } };
}

function invalidExperiment(experiment: string, reason: string): WhittleError {
  return new WhittleError('CONFIG_INVALID', `experiments.${experiment}: ${reason}`, {
    field: `experiments.${experiment}`,
  });
}

/** Reads a YAML or JSON configuration file. @throws FILE_MISSING, CONFIG_INVALID. */
export async function readConfig(path: string): Promise<ServerConfig> {
  const source = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new WhittleError('FILE_MISSING', `The configuration file ${path} cannot be read`, { path }, cause);
  });
  // Loaded here because only the gateway reads a configuration, and only once.
  const { parse } = await import('yaml');
  let parsed: unknown;
  try {
    parsed = parse(source);
  } catch (cause) {
    throw new WhittleError(
      'CONFIG_INVALID',
      `${path} is neither YAML nor JSON: ${String(cause)}`,
      { path },
      cause,
    );
  }
  return completeConfig(parsed);
}
