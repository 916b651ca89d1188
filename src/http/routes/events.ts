import type { FastifyInstance } from 'fastify';
import type { Engine } from '../../serving/index.js';
import { eventsReceipt, responses } from '../schemas/answers.js';
import { eventsBody, type EventsBody } from '../schemas/requests.js';

/** `POST /v1/events`: durable when answered, idempotent by id. */
export function eventRoutes(app: FastifyInstance, engine: Engine): void {
  app.post<{ Body: EventsBody }>(
    '/v1/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Record what users did; durable when answered, idempotent by id',
        body: eventsBody,
        response: responses(eventsReceipt, 400, 413, 500, 503),
      },
      preValidation: (request, _reply, done) => {
        if (Array.isArray(request.body)) request.body = { events: request.body };
        done();
      },
    },
    (request) => engine.recordEvents(request.body.events),
  );
}
