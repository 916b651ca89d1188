import { experimentsSchema } from '../../core/index.js';
import { experiments as experimentStatuses } from '../schemas/answers.js';
import { closedObject } from '../schemas/fields.js';

const text = { type: 'string' };
const integer = { type: 'integer' };
const flag = { type: 'boolean' };
/** Plain JSON whose form is described where it is made. */
const anything = {};

const gateway = closedObject(
  { pid: integer, ready: flag, reason: text, restarts: integer, serving: anything },
  ['ready', 'restarts'],
);

export const adminStatus = closedObject({
  version: text,
  startedAt: text,
  gateways: { type: 'array', items: gateway },
  pipelines: { type: 'array', items: text },
  defaultPipeline: text,
  experiments: anything,
  audit: closedObject({ path: text, entries: integer, head: text }),
});

export const reloadAnswer = closedObject({
  gateways: { type: 'array', items: anything, description: 'What the reload did in each gateway.' },
});

export const experimentsBody = closedObject({ experiments: experimentsSchema });

export const experimentsAnswer = experimentStatuses;

const note = { ...text, description: 'What becomes of the change when the server starts again.' };

export const changedExperiments = closedObject({
  experiments: anything,
  usersMovedPercent: { type: 'number', description: 'Percent of all users whose arm is another one now.' },
  note,
});

export const experimentParams = closedObject({ name: text });

export const experimentPatch = {
  ...closedObject(
    {
      enabled: flag,
      weights: {
        type: 'object',
        minProperties: 1,
        additionalProperties: { type: 'number', minimum: 0 },
        description: 'New weights by arm; arms not named keep theirs.',
      },
    },
    [],
  ),
  minProperties: 1,
};

export const pipelineBody = closedObject({ pipeline: { type: 'string', minLength: 1 } });

export const changedPipeline = closedObject({ pipeline: text, note });

export const auditQuery = closedObject(
  { limit: { type: 'integer', minimum: 1, maximum: 1_000, default: 100 } },
  [],
);

export const auditAnswer = closedObject(
  {
    entries: integer,
    head: text,
    holds: { ...flag, description: 'Whether every entry of the file is as it was written.' },
    broken: closedObject({ line: integer, reason: text }),
    lines: { type: 'array', items: anything, description: 'The last entries, oldest first.' },
  },
  ['entries', 'head', 'holds', 'lines'],
);
