import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ExperimentConfig } from '../../core/index.js';
import type { AuditActor, AuditLog } from '../../store/index.js';
import { responses } from '../schemas/answers.js';
import type { JsonSchema } from '../schemas/fields.js';
import type { Changes, ExperimentPatch } from './changes.js';
import type { AdminControl } from './control.js';
import {
  adminStatus,
  auditAnswer,
  auditQuery,
  changedExperiments,
  changedPipeline,
  experimentParams,
  experimentPatch,
  experimentsAnswer,
  experimentsBody,
  pipelineBody,
  reloadAnswer,
} from './schemas.js';

/** Said with every change, because the configuration file is the truth of a start. */
const NOTE =
  'In force in every gateway until the server starts again; write it into the configuration file to keep it.';

/** What the admin routes work on. */
export interface AdminParts {
  readonly control: AdminControl;
  readonly changes: Changes;
  readonly audit: AuditLog;
  readonly version: string;
}

/** `/admin/*`; who may call them is checked before. */
export function adminRoutes(app: FastifyInstance, parts: AdminParts): void {
  statusRoutes(app, parts);
  experimentRoutes(app, parts);
  pipelineRoutes(app, parts);
}

function statusRoutes(app: FastifyInstance, { control, changes, audit, version }: AdminParts): void {
  const startedAt = new Date().toISOString();
  app.get('/admin/status', schemaOf('State of the gateways and what they serve', adminStatus), async () => ({
    version,
    startedAt,
    gateways: await control.gateways(),
    pipelines: await control.pipelines(),
    defaultPipeline: await control.defaultPipeline(),
    experiments: control.experimentConfigs(),
    audit: { path: audit.path, entries: audit.head.sequence, head: audit.head.hash },
  }));
  app.post('/admin/reload', schemaOf('Read the bundle again', reloadAnswer), async (request) => ({
    gateways: await changes.reload(actorOf(request)),
  }));
  app.get<{ Querystring: { limit: number } }>(
    '/admin/audit',
    schemaOf('The last entries of the audit log', auditAnswer, { querystring: auditQuery }),
    async ({ query: { limit } }) => {
      const { lines, report } = await audit.recent(limit);
      const { broken, torn, entries, head } = report;
      const holds = broken === undefined && torn === undefined;
      return { entries, head: head.hash, holds, ...(broken === undefined ? {} : { broken }), lines };
    },
  );
}

function experimentRoutes(app: FastifyInstance, { control, changes }: AdminParts): void {
  app.get('/admin/experiments', schemaOf('Experiments and their traffic', experimentsAnswer), async () => ({
    experiments: await control.experiments(),
  }));
  app.put<{ Body: { experiments: ExperimentConfig[] } }>(
    '/admin/experiments',
    schemaOf('Replace all experiments', changedExperiments, { body: experimentsBody }),
    async (request) => {
      const change = await changes.replaceExperiments(actorOf(request), request.body.experiments);
      return { ...change, note: NOTE };
    },
  );
  app.patch<{ Params: { name: string }; Body: ExperimentPatch }>(
    '/admin/experiments/:name',
    schemaOf('Start, stop or re-weight an experiment', changedExperiments, {
      params: experimentParams,
      body: experimentPatch,
    }),
    async (request) => {
      const change = await changes.patchExperiment(actorOf(request), request.params.name, request.body);
      return { ...change, note: NOTE };
    },
  );
}

function pipelineRoutes(app: FastifyInstance, { changes }: AdminParts): void {
  app.put<{ Body: { pipeline: string } }>(
    '/admin/default-pipeline',
    schemaOf('Choose the pipeline of requests outside experiments', changedPipeline, { body: pipelineBody }),
    async (request) => {
      const { pipeline } = request.body;
      await changes.setDefaultPipeline(actorOf(request), pipeline);
      return { pipeline, note: NOTE };
    },
  );
}

function actorOf({ ip }: FastifyRequest): AuditActor {
  return { name: 'admin', address: ip };
}

function schemaOf(
  summary: string,
  answer: JsonSchema,
  given: Readonly<Record<string, JsonSchema>> = {},
): { schema: object } {
  return { schema: { summary, ...given, response: responses(answer, 400, 403, 404, 429, 500, 503) } };
}
