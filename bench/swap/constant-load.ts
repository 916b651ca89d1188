import { Agent, request } from 'node:http';
import { must } from '../../src/core/index.js';
import { LatencyHistogram } from '../../src/statistics/index.js';
import type { Answer } from '../../src/serving/index.js';

interface Reply {
  readonly status: number;
  readonly text: string;
}

const QUESTIONS = 32;
const K = 10;
/** Scores are sums of float32, which depend a little on what else is in the batch. */
const TOLERANCE = 1e-3;

/** Questions at a constant rate, whether or not answers come in time, and each answer held against its version. */
export class ConstantLoad {
  readonly #url: string;
  readonly #intervalMs: number;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #pipeline: string;
  /** Bodies of requests. */
  readonly #questions: string[] = [];
  /** What each version answers to each question, learnt while no version changed. */
  readonly #known = new Map<string, readonly Answer[]>();
  readonly #open = new Set<Promise<void>>();
  #latency = new LatencyHistogram();
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #sent = 0;
  readonly #answersOf = new Map<string, number>();
  answers = 0;
  mixed = 0;
  readonly failures: string[] = [];

  constructor(url: string, pipeline: string, ratePerSecond: number) {
    this.#url = url;
    this.#pipeline = pipeline;
    this.#intervalMs = 1000 / ratePerSecond;
  }

  /** Asks every question once; whether a version answered all that was not known before. */
  async learn(): Promise<boolean> {
    if (this.#questions.length === 0) await this.#makeQuestions();
    const answers: Answer[] = [];
    for (const question of this.#questions) {
      const { status, text } = await this.#ask(question);
      if (status !== 200) throw new Error(text);
      answers.push(JSON.parse(text) as Answer);
    }
    const [version, ...others] = new Set(answers.map(({ bundleVersion }) => bundleVersion));
    if (version === undefined || others.length > 0 || this.#known.has(version)) return false;
    this.#known.set(version, answers);
    return true;
  }

  /** Answers of a version under load, by its place in the order in which they were learnt. */
  answersOf(place: number): number {
    return this.#answersOf.get([...this.#known.keys()][place] ?? '') ?? 0;
  }

  start(): void {
    this.#startedAt = performance.now();
    this.#timer = setInterval(() => {
      this.#sendDue();
    }, 1);
  }

  /** Settles when every answer is there. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
    this.#agent.destroy();
  }

  /** Latencies since the last call. */
  restartLatency(): LatencyHistogram {
    const recorded = this.#latency;
    this.#latency = new LatencyHistogram();
    return recorded;
  }

  #sendDue(): void {
    const now = performance.now();
    for (;;) {
      const dueAt = this.#startedAt + this.#sent * this.#intervalMs;
      if (dueAt > now) return;
      const place = this.#sent++ % this.#questions.length;
      const answered = this.#check(place, dueAt).finally(() => this.#open.delete(answered));
      this.#open.add(answered);
    }
  }

  async #check(place: number, dueAt: number): Promise<void> {
    try {
      const { status, text } = await this.#ask(must(this.#questions[place], 'question'));
      this.#latency.record(performance.now() - dueAt);
      if (status !== 200) throw new Error(`${status} ${messageOf(text)}`);
      const answer = JSON.parse(text) as Answer;
      this.answers += 1;
      const { bundleVersion: version } = answer;
      this.#answersOf.set(version, (this.#answersOf.get(version) ?? 0) + 1);
      if (!isSame(answer, this.#known.get(version)?.[place])) this.mixed += 1;
    } catch (thrown) {
      this.failures.push(String(thrown));
    }
  }

  async #makeQuestions(): Promise<void> {
    const users = await fetch(`${this.#url}/v1/users?limit=${QUESTIONS}`);
    const { users: ids } = (await users.json()) as { users: string[] };
    for (const user of ids) this.#questions.push(JSON.stringify({ user, k: K }));
  }

  #ask(body: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const sent = request(
        `${this.#url}/v1/recommend`,
        {
          method: 'POST',
          agent: this.#agent,
          headers: { 'content-type': 'application/json', 'x-whittle-pipeline': this.#pipeline },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () => {
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
          });
          response.on('error', reject);
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

/** Without the request's id, so that equal failures count as one kind. */
function messageOf(text: string): string {
  return (JSON.parse(text) as { readonly error: { readonly message: string } }).error.message;
}

function isSame(answer: Answer, known: Answer | undefined): boolean {
  if (answer.variant !== known?.variant || answer.items.length !== known.items.length) return false;
  return answer.items.every(({ id, title, score }, place) => {
    const expected = must(known.items[place], 'item');
    // Near-equal scores may change places.
    return (
      Math.abs(score - expected.score) <= TOLERANCE && (title === id) === (expected.title === expected.id)
    );
  });
}
