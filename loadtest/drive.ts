import autocannon from 'autocannon';

/** What one closed loop does. */
export interface DriveOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON body of the next request, whichever connection sends it. */
  readonly nextBody: () => string;
  readonly connections: number;
  readonly seconds: number;
}

export interface DriveResult {
  /** Time that the loop really ran. */
  readonly seconds: number;
  /** Latencies of answers with 2xx, ascending, milliseconds. */
  readonly latenciesMs: Float64Array;
  /** Responses by status, 2xx included. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly timeouts: number;
  readonly connectionErrors: number;
}

/** Bounds time's memory: latencies are kept one by one, as autocannon's own histogram has whole milliseconds. */
const MAX_REQUESTS = 1_000_000;
/** A server that is gone refuses connections as fast as they are made. */
const MAX_CONNECTION_ERRORS = 1_000;
/** Longer than any deadline a server should have: what takes longer is lost. */
const TIMEOUT_SECONDS = 10;
/** How often autocannon looks whether its time is up. */
const SAMPLE_INTERVAL_MS = 50;

/** Posts bodies over `connections` keep-alive connections, each with its next request when the answer is there. */
export function drive({ url, headers, nextBody, connections, seconds }: DriveOptions): Promise<DriveResult> {
  const options: autocannon.Options = {
    url,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    // One entry that is built anew for each request: all connections draw from the same sequence.
    requests: [{ setupRequest: (request) => ({ ...request, body: nextBody() }) }],
    connections,
    duration: seconds,
    timeout: TIMEOUT_SECONDS,
    maxOverallRequests: MAX_REQUESTS,
    bailout: MAX_CONNECTION_ERRORS,
    sampleInt: SAMPLE_INTERVAL_MS,
  };
  return new Promise((resolve, reject) => {
    const latenciesMs: number[] = [];
    const statuses: Record<string, number> = {};
    const startedAt = performance.now();
    const instance = autocannon(options, (error: Error | null, { errors, timeouts }) => {
      if (error !== null) reject(error);
      resolve({
        seconds: (performance.now() - startedAt) / 1000,
        latenciesMs: Float64Array.from(latenciesMs).sort(),
        statuses,
        timeouts,
        connectionErrors: errors - timeouts,
      });
    });
    instance.on('response', (_client, status, _bytes, latencyMs) => {
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (status >= 200 && status < 300) latenciesMs.push(latencyMs);
    });
  });
}
