/**
 * Closed loop over `/v1/rank` in a process of its own. Takes JSON ({@link ClosedLoop}) as its argument, prints
 * {@link ClosedResult}.
 */
import { readFile } from 'node:fs/promises';
import autocannon from 'autocannon';
import { must, readManifest } from '../../src/core/index.js';
import { openCatalogue } from '../../src/serving/catalogue.js';
import type { RankQuestion } from './bodies.js';

export interface ClosedLoop {
  readonly url: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** File of {@link RankQuestion}s; each is sent as it is, or without items where `k` is given. */
  readonly questions: string;
  readonly k?: number;
  /** Bundle whose catalogue has the rows of the items: bodies are binary then. */
  readonly binaryOf?: string;
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
const bodies = given.binaryOf === undefined ? jsonBodies(given) : await binaryBodies(given.binaryOf);
const type = given.binaryOf === undefined ? 'application/json' : 'application/octet-stream';
let sent = 0;
const result = await autocannon({
  url: given.url,
  method: 'POST',
  headers: { 'content-type': type, ...given.headers },
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

function jsonBodies({ k }: ClosedLoop): string[] {
  return questions.map((question) => JSON.stringify(k === undefined ? question : { user: question.user, k }));
}

/** As docs/binary-rank.md has them. */
async function binaryBodies(bundle: string): Promise<Buffer[]> {
  const catalogue = await openCatalogue(bundle, await readManifest(bundle));
  return questions.map(({ user, items }) => {
    const id = Buffer.from(user);
    const rowsAt = 16 + Math.ceil(id.length / 4) * 4;
    const body = Buffer.alloc(rowsAt + 4 * items.length);
    body.write('WHR1', 0);
    body.writeUInt32LE(items.length, 4);
    body.writeUInt16LE(id.length, 12);
    id.copy(body, 16);
    for (const [place, item] of items.entries())
      body.writeUInt32LE(must(catalogue.rowOf(item), item), rowsAt + 4 * place);
    return body;
  });
}
