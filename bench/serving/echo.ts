/** An HTTP server that reads the body and answers one of the size that ranking has: load for a generator's core. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const items = Array.from({ length: 100 }, (_, place) => ({
  id: `item-${place}`,
  title: 'A title',
  score: 1 / (place + 1),
}));
const body = JSON.stringify({ items });
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    response.setHeader('content-type', 'application/json').end(body);
  });
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` })}\n`);
});
