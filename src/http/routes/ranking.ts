import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Answer, AnswerInfo, Engine, StageTimings } from '../../serving/index.js';
import { decodeRankRows, encodeRankedRows } from '../binary-rank.js';
import { checkRank, checkRecommend, checkSearch } from '../checks.js';
import { readBody } from '../read-body.js';
import { answer as answerSchema, responses } from '../schemas/answers.js';
import type { JsonSchema } from '../schemas/fields.js';
import {
  rankBody,
  rankingHeaders,
  recommendBody,
  searchBody,
  type RankBody,
  type RecommendBody,
  type SearchBody,
} from '../schemas/requests.js';

const BINARY = 'application/octet-stream';
const JSON_TYPE = 'application/json; charset=utf-8';
const FAILURES = [400, 404, 413, 429, 500, 503, 504];

interface Context {
  readonly requestId: string;
  readonly forcedPipeline?: string;
}

interface RankingRoute<Body> {
  readonly url: string;
  readonly summary: string;
  readonly body: JsonSchema;
  check(body: Body): void;
  serve(request: Body & Context): Promise<Answer>;
  /** Where the route takes a binary body too. */
  serveBinary?(request: FastifyRequest, reply: FastifyReply): Promise<Buffer>;
}

/** `POST /v1/recommend`, `/v1/search` and `/v1/rank`. */
export function rankingRoutes(app: FastifyInstance, engine: Engine): void {
  addRoute<RecommendBody>(app, {
    url: '/v1/recommend',
    summary: 'Recommend items to a user or after a history',
    body: recommendBody,
    check: checkRecommend,
    serve: (request) => engine.recommend(request),
  });
  addRoute<SearchBody>(app, {
    url: '/v1/search',
    summary: 'Search items by text or by vector',
    body: searchBody,
    check: checkSearch,
    serve: (request) => engine.search(request),
  });
  // A scope of its own: no other route takes binary bodies.
  void app.register((scope, _options, done) => {
    scope.addContentTypeParser(BINARY, (_request, payload, parsed) => {
      readBody(payload, scope.initialConfig.bodyLimit ?? 0, parsed);
    });
    addRoute<RankBody>(scope, {
      url: '/v1/rank',
      summary: `Order given items; also in binary, as ${BINARY} (docs/binary-rank.md)`,
      body: rankBody,
      check: checkRank,
      serve: (request) => engine.rank(request),
      serveBinary: (request, reply) => rankBinary(engine, request, reply),
    });
    done();
  });
}

function addRoute<Body extends object>(app: FastifyInstance, route: RankingRoute<Body>): void {
  const { url, summary, body } = route;
  const schema = {
    tags: ['ranking'],
    summary,
    headers: rankingHeaders,
    body,
    response: responses(answerSchema, ...FAILURES),
  };
  app.post(url, { schema }, async (request, reply) => {
    if (Buffer.isBuffer(request.body) && route.serveBinary !== undefined)
      return route.serveBinary(request, reply);
    const checked = request.body as Body;
    route.check(checked);
    return sendAnswer(await route.serve({ ...checked, ...contextOf(request) }), reply);
  });
}

function contextOf(request: FastifyRequest): Context {
  const forced = request.headers['x-whittle-pipeline'];
  return { requestId: request.id, ...(forced === undefined ? {} : { forcedPipeline: String(forced) }) };
}

async function rankBinary(engine: Engine, request: FastifyRequest, reply: FastifyReply): Promise<Buffer> {
  const version = request.headers['x-whittle-bundle'];
  const ranked = await engine.rankRows({
    ...decodeRankRows(request.body as Buffer),
    ...contextOf(request),
    ...(version === undefined ? {} : { bundleVersion: String(version) }),
  });
  reply.header('content-type', BINARY).header('server-timing', serverTiming(ranked.timings));
  for (const [name, value] of headersOf(ranked)) reply.header(name, encodeURIComponent(value));
  return encodeRankedRows(ranked);
}

/** What the JSON answer has in its body. */
function headersOf(answer: AnswerInfo): [string, string][] {
  return [
    ['x-whittle-bundle', answer.bundleVersion],
    ['x-whittle-pipeline', answer.pipeline],
    ['x-whittle-variant', answer.variant],
    ['x-whittle-experiment', answer.experiment ?? 'none'],
    ['x-whittle-arm', answer.arm ?? 'none'],
    ['x-whittle-forced', String(answer.forced)],
    ['x-whittle-cached', String(answer.cached)],
    ...(answer.degradedFrom === undefined
      ? []
      : [['x-whittle-degraded-from', answer.degradedFrom] as [string, string]]),
  ];
}

/**
 * Every answer names its arm; `none` says that no experiment decided. It is written without the serializer of its schema,
 * which takes 84 µs for 100 items where this takes 62 with the encoding (one core, 8 connections); a test holds it to
 * the schema.
 */
function sendAnswer(answer: Answer, reply: FastifyReply): FastifyReply {
  const { experiment = 'none', arm = 'none' } = answer;
  reply.header('content-type', JSON_TYPE).header('server-timing', serverTiming(answer.timings));
  return reply.send(Buffer.from(JSON.stringify({ ...answer, experiment, arm })));
}

/** The Server-Timing header (W3C Server Timing): stage and milliseconds. */
function serverTiming({ historyMs, retrieveMs, rankMs, queueMs, totalMs }: StageTimings): string {
  const before = `history;dur=${historyMs.toFixed(3)}, retrieve;dur=${retrieveMs.toFixed(3)}`;
  const after = `rank;dur=${rankMs.toFixed(3)}, queue;dur=${queueMs.toFixed(3)}`;
  return `${before}, ${after}, total;dur=${totalMs.toFixed(3)}`;
}
