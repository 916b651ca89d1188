/**
 * Closed loop over `/v1/rank` in a process of its own. Takes JSON ({@link ClosedLoop}) as its argument, prints
 * {@link ClosedResult}.
 */
import { readFile } from 'node:fs/promises';
import autocannon from 'autocannon';
import { must } from '../../src/core/index.js';
import type { RankQuestion } from './bodies.js';

export interface ClosedLoop {
  readonly url: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** File of {@link RankQuestion}s; each is sent as it is, or without items where `k` is given. */
  readonly questions: string;
  readonly k?: number;
  readonly connections: number;
  readonly seconds: number;
}

export interface ClosedResult {
  readonly answers: number;
  readonly failures: number;
  readonly requestsPerSecond: number;
}

const given = JSON.parse(process.argv[2] ?? '{}') as ClosedLoop;
const questions = JSON.parse(await readFile(given.questions, 'utf8')) as RankQuestion[];
const bodies = questions.map((question) =>
  JSON.stringify(given.k === undefined ? question : { user: question.user, k: given.k }),
);
let sent = 0;
const result = await autocannon({
  url: given.url,
  method: 'POST',
  headers: { 'content-type': 'application/json', ...given.headers },
  requests: [
    {
      path: given.path,
      setupRequest: (request) => ({ ...request, body: must(bodies[sent++ % bodies.length], 'body') }),
    },
  ],
  connections: given.connections,
  duration: given.seconds,
});
const answered: ClosedResult = {
  answers: result['2xx'],
  failures: result.non2xx + result.errors,
  requestsPerSecond: result['2xx'] / result.duration,
};
process.stdout.write(JSON.stringify(answered));
