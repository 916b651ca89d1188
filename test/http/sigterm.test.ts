import { afterEach, expect, test } from 'vitest';
import { Served } from '../cli/served.js';
import { isAlive } from '../support/processes.js';
import { RawConnection, requestBytes } from '../support/raw-connection.js';
import { until } from '../support/until.js';

/** More of them: `WHITTLE_SIGTERM_CYCLES=20 npx vitest run test/http/sigterm.test.ts`. */
const CYCLES = Number(process.env['WHITTLE_SIGTERM_CYCLES'] ?? 2);
const CONNECTIONS = 32;
let served: Served;

afterEach(() => served.remove());

/** Asks again and again on one connection, until the server ends it; then, as clients do, on a new one. */
class Client {
  readonly connections: RawConnection[] = [];
  /** Requests sent on the connection of now. */
  #sent = 0;
  #asked = 0;

  get answers(): number {
    return this.connections.reduce((sum, { responses }) => sum + responses.length, 0);
  }

  /** Requests sent without an answer yet: at most one. */
  get unanswered(): boolean {
    return (this.connections.at(-1)?.responses.length ?? 0) < this.#sent;
  }

  async run(url: string, name: string): Promise<void> {
    for (;;) {
      const connection = await RawConnection.open(url);
      if (connection.error !== undefined) return;
      this.connections.push(connection);
      this.#sent = 0;
      await this.#ask(connection, name);
    }
  }

  async #ask(connection: RawConnection, name: string): Promise<void> {
    while (!connection.ended && !connection.closed) {
      const items = ['i1', 'i2', `i${3 + (this.#asked++ % 60)}`];
      connection.write(requestBytes('/v1/rank', { user: name, items }));
      this.#sent += 1;
      await new Promise<void>((resolve) => {
        const check = (): void => {
          if (connection.responses.length < this.#sent && !connection.closed) return;
          connection.socket.off('data', check).off('close', check);
          resolve();
        };
        connection.socket.on('data', check).on('close', check);
      });
      const last = connection.responses.at(-1);
      if (last?.headers['connection'] === 'close') await until('its end', () => connection.closed);
    }
  }
}

test.each(Array.from({ length: CYCLES }, (_, cycle) => cycle + 1))(
  'SIGTERM under load, cycle %i: no answer is cut off, nothing that was sent before stays unanswered',
  async () => {
    served = await Served.start({ cache: { maxEntries: 0 }, server: { port: 0, deadlineMs: 5_000 } });
    const runners = served.runners();
    const clients = Array.from({ length: CONNECTIONS }, () => new Client());
    const runs = clients.map((client, place) => client.run(served.url, `u${place}`));
    await until('all are being served', () => clients.every(({ answers }) => answers > 3));
    const atSignal = clients.map(({ connections, unanswered }) => ({
      connection: connections.at(-1),
      answers: connections.at(-1)?.responses.length ?? 0,
      unanswered,
    }));
    expect(await served.end('SIGTERM')).toBe(0);
    await Promise.all(runs);
    const all = clients.flatMap(({ connections }) => connections);
    // A connection that was never taken from the listener's queue is refused by the kernel: nothing was accepted.
    const resets = all.filter(({ error, responses }) => error !== undefined && responses.length > 0);
    expect(resets.map(({ error }) => error)).toEqual([]);
    expect(all.map(({ partial }) => partial).filter((rest) => rest !== '')).toEqual([]);
    const statuses = new Set(all.flatMap(({ responses }) => responses.map(({ status }) => status)));
    expect([...statuses].filter((status) => status !== 200 && status !== 503)).toEqual([]);
    const lost = atSignal.filter(
      ({ connection, answers, unanswered }) => unanswered && (connection?.responses.length ?? 0) <= answers,
    );
    expect(lost).toEqual([]);
    expect(runners.filter(isAlive)).toEqual([]);
  },
);
