import type { FastifyInstance } from 'fastify';
import { WhittleError } from '../../core/index.js';
import type { Metrics } from '../metrics.js';
import { alive, responses } from '../schemas/answers.js';

/** `GET /livez`, `/readyz` and `/metrics`. `notReadyReason` is undefined while requests should come. */
export function healthRoutes(
  app: FastifyInstance,
  metrics: Pick<Metrics, 'contentType' | 'scrape'>,
  notReadyReason: () => string | undefined,
): void {
  const tags = ['health'];
  const up = { schema: { tags, summary: 'The process runs', response: responses(alive) } };
  app.get('/livez', up, () => ({ status: 'alive' }));
  const ready = { schema: { tags, summary: 'Requests will be served', response: responses(alive, 503) } };
  app.get('/readyz', ready, () => {
    const reason = notReadyReason();
    if (reason !== undefined) throw new WhittleError('NOT_READY', `Not ready: ${reason}`, { reason });
    return { status: 'ready' };
  });
  app.get(
    '/metrics',
    { schema: { tags, summary: 'Metrics in the Prometheus text format', produces: ['text/plain'] } },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.scrape()),
  );
}
