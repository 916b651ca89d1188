import { ERROR_CODES } from '../../core/index.js';
import { closedObject, type JsonSchema } from './fields.js';

const text = { type: 'string' };
const number = { type: 'number' };
const integer = { type: 'integer' };
const flag = { type: 'boolean' };
const milliseconds = { type: 'number', description: 'Milliseconds.' };

const item = closedObject({ id: text, title: text, score: number }, ['id', 'score']);

const answerFields = {
  requestId: text,
  items: { type: 'array', items: item, description: 'Best first.' },
  bundleVersion: {
    ...text,
    description: 'State of the bundle that answered; changes with any of its files.',
  },
  pipeline: text,
  variant: { ...text, description: "Variant that ranked; none where the retrieval's order stands." },
  experiment: { ...text, description: 'none where no experiment decided.' },
  arm: { ...text, description: 'none where no experiment decided.' },
  degradedFrom: {
    ...text,
    description: 'Pipeline that overload kept the request from; absent where it did not.',
  },
  source: {
    enum: ['retrieval', 'popularity', 'search', 'given'],
    type: 'string',
    description: 'How the candidates were found; popularity answers a user without history.',
  },
  forced: { ...flag, description: 'The pipeline was forced by header.' },
  cached: flag,
  timings: closedObject({
    historyMs: milliseconds,
    retrieveMs: milliseconds,
    rankMs: milliseconds,
    queueMs: { ...milliseconds, description: 'Part of retrieve and rank spent waiting in queues.' },
    totalMs: milliseconds,
  }),
};

/** Body of every ranking route. */
export const answer = closedObject(
  answerFields,
  Object.keys(answerFields).filter((name) => name !== 'degradedFrom'),
);

export const eventsReceipt = closedObject({ accepted: integer, duplicates: integer });

export const knownUsers = closedObject({
  users: { type: 'array', items: text },
  events: { type: 'array', items: integer, description: 'Events in the history of each user.' },
});

export const alive = closedObject({ status: text });

const interval = {
  ...closedObject({ mean: number, low: number, high: number }, ['mean']),
  description: 'Mean with its 95 % confidence interval; no bounds below two samples.',
};

/** A runner's process, or all of a runner's processes together. */
const runnerFields = {
  name: text,
  state: { type: 'string', enum: ['starting', 'ready', 'restarting', 'failed', 'stopped'] },
  pid: integer,
  restarts: integer,
  privateBytes: { ...integer, description: 'Memory of its own, mapped weights not counted; in sum.' },
  sharedBytes: {
    ...integer,
    description: 'Memory in common with other processes, and mapped weights; of several processes the most.',
  },
  proportionalBytes: { ...integer, description: 'Private, and the share of what is shared; in sum.' },
  mappedWeightBytes: {
    ...integer,
    description: 'Mapped weights that are in memory now; of several processes the most.',
  },
  cpuSeconds: number,
};

const runner = closedObject(
  {
    ...runnerFields,
    reason: { ...text, description: 'Why it is out of service.' },
    queued: integer,
    processes: {
      type: 'array',
      items: closedObject(runnerFields, ['name', 'state', 'restarts']),
      description: 'One a process that holds the model.',
    },
  },
  ['name', 'state', 'restarts', 'queued', 'processes'],
);

const variant = closedObject(
  {
    name: text,
    file: text,
    parent: text,
    recipe: {},
    fileBytes: integer,
    sharedWeightBytes: integer,
    runner,
    requests: integer,
    latency: closedObject({ p50Ms: milliseconds, p90Ms: milliseconds, p99Ms: milliseconds }),
    fidelity: {
      ...closedObject({ count: integer, overlapAt10: interval, ndcgAt10: interval, scoreError: interval }, [
        'count',
      ]),
      description: 'Agreement with the full model on the same live requests.',
    },
    retention: {
      ...closedObject({ pairs: integer, users: integer, mean: number, low: number }, ['pairs', 'users']),
      description:
        "NDCG@10 of the variant's orders over that of the full model's on the same live requests, by what users did " +
        'afterwards; low is the one-sided lower bound at 95 %.',
    },
  },
  ['name', 'file', 'fileBytes', 'sharedWeightBytes', 'runner', 'requests', 'fidelity', 'retention'],
);

const degradation = {
  ...closedObject(
    {
      enabled: flag,
      from: text,
      to: text,
      share: { ...number, description: 'Share of the traffic outside experiments that is moved.' },
      queueMs: { ...milliseconds, description: "Time in the queue of the default pipeline's ranker." },
      candidates: {
        type: 'array',
        items: closedObject({ pipeline: text, eligible: flag, reason: text }, ['pipeline', 'eligible']),
        description: 'Pipelines that could take over, and why those that may not do not.',
      },
    },
    ['enabled', 'from', 'share', 'queueMs', 'candidates'],
  ),
  description: 'How overload moves traffic from the default pipeline to a cheaper one.',
};

export const variants = closedObject({ variants: { type: 'array', items: variant }, degradation });

const arm = closedObject({
  name: text,
  weight: number,
  share: number,
  pipeline: text,
  requests: integer,
  users: integer,
});

const experiment = closedObject(
  {
    name: text,
    enabled: flag,
    salt: text,
    paused: {
      ...text,
      description: 'Why it takes no traffic although it is enabled: answers cannot be logged now.',
    },
    arms: { type: 'array', items: arm },
  },
  ['name', 'enabled', 'salt', 'arms'],
);

export const experiments = closedObject({ experiments: { type: 'array', items: experiment } });

/** Body of every error. */
const failure = {
  ...closedObject({
    error: closedObject({
      code: { type: 'string', enum: Object.keys(ERROR_CODES) },
      message: text,
      details: {
        type: 'object',
        additionalProperties: true,
        description: 'The offending field, its value and what is allowed.',
      },
      retryable: { ...flag, description: 'The same call may succeed later.' },
      requestId: text,
    }),
  }),
  description: 'Error.',
};

/** Responses of a route: its body at 200 and the error body at these statuses. */
export function responses(body: JsonSchema, ...failures: readonly number[]): Record<string, JsonSchema> {
  const ok = { description: 'Success.', ...body };
  return { 200: ok, ...Object.fromEntries(failures.map((status) => [status, failure])) };
}
