import type { FastifyInstance } from 'fastify';
import type { Engine, ExperimentStatus, VariantStatus } from '../../serving/index.js';
import { experiments, knownUsers, responses, variants } from '../schemas/answers.js';
import { usersQuery, type UsersQuery } from '../schemas/requests.js';

/** What is known of variants and experiments: in this gateway, or in all that share the port. */
export interface StatusView {
  variants(): Promise<readonly VariantStatus[]>;
  experiments(): Promise<readonly ExperimentStatus[]>;
}

/** `GET /v1/variants`, `/v1/experiments` and `/v1/users`: what is served and how it does. */
export function statusRoutes(app: FastifyInstance, engine: Engine, view: StatusView): void {
  const schemaOf = (summary: string, body: Parameters<typeof responses>[0]): Record<string, unknown> => ({
    tags: ['status'],
    summary,
    response: responses(body, 500),
  });
  app.get(
    '/v1/variants',
    { schema: schemaOf('Variants: size, runner, traffic, latency, live fidelity and retention', variants) },
    async () => ({ variants: await view.variants(), degradation: engine.degradation() }),
  );
  app.get(
    '/v1/experiments',
    { schema: schemaOf('Experiments and the traffic of their arms', experiments) },
    async () => ({ experiments: await view.experiments() }),
  );
  app.get<{ Querystring: UsersQuery }>(
    '/v1/users',
    { schema: { ...schemaOf('Ids of users that the bundle knows', knownUsers), querystring: usersQuery } },
    ({ query: { limit } }) => ({
      users: engine.knownUsers(limit),
      events: engine.knownUserEvents(limit),
    }),
  );
}
