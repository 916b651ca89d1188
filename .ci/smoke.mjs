/**
 * Waits until the server is ready, then asks it for one recommendation and one search, and fails if an answer holds no
 * items. Usage: node .ci/smoke.mjs <base url> <server pid> <ready timeout, s> <user id> <query>
 */
import assert from 'node:assert/strict';

const [baseUrl, serverPid, readyTimeoutS, user, query] = process.argv.slice(2);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Throws once the server's process is gone: waiting on would only hide why. */
function assertServerRuns() {
  try {
    process.kill(Number(serverPid), 0);
  } catch {
    throw new Error('The server ended before it was ready.');
  }
}

async function readyStatus() {
  try {
    const response = await fetch(`${baseUrl}/readyz`, { signal: AbortSignal.timeout(2_000) });
    return `${response.status} ${await response.text()}`;
  } catch (error) {
    return String(error.cause ?? error);
  }
}

async function waitUntilReady() {
  const deadline = Date.now() + Number(readyTimeoutS) * 1_000;
  let status;
  while (!(status = await readyStatus()).startsWith('200')) {
    assertServerRuns();
    if (Date.now() > deadline) throw new Error(`Not ready after ${readyTimeoutS} s; /readyz: ${status}`);
    await pause(250);
  }
}

async function checkAnswer(path, body) {
  const response = await fetch(`${baseUrl}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  assert.equal(response.status, 200, `POST ${path} answered ${response.status}: ${text}`);
  const { items, requestId, variant } = JSON.parse(text);
  assert.ok(Array.isArray(items) && items.length > 0, `POST ${path} answered no items: ${text}`);
  for (const item of items)
    assert.equal(typeof item.id, 'string', `POST ${path}, an item without id: ${text}`);
  assert.equal(typeof requestId, 'string', `POST ${path}, no requestId: ${text}`);
  console.log(`POST ${path}: ${items.length} items, variant ${variant}, first ${items[0].id}`);
}

await waitUntilReady();
// The port may have been another server's all along.
assertServerRuns();
await checkAnswer('/v1/recommend', { user, k: 10 });
await checkAnswer('/v1/search', { query, k: 10 });
