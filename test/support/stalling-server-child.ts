/**
 * An HTTP server that stops for `stallMs` every `periodMs` (argv; 0 for never), from its first request on: its thread
 * sleeps and nothing is answered, as in a long pause of a garbage collector. It sends its port.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const [stallMs = 0, periodMs = 0] = process.argv.slice(2).map(Number);
const never = new Int32Array(new SharedArrayBuffer(4));

function stallLater(startMs: number, turn: number): void {
  setTimeout(
    () => {
      Atomics.wait(never, 0, 0, stallMs);
      stallLater(startMs, turn + 1);
    },
    startMs + (turn + 0.5) * periodMs - performance.now(),
  ).unref();
}

const server = createServer((request, response) => {
  request.resume().once('end', () => response.end('{"items":[]}'));
});
if (periodMs > 0) server.once('request', () => stallLater(performance.now(), 0));
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.once('disconnect', () => process.exit());
