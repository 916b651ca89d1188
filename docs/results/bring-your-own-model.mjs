// Measures what docs/results/bring-your-own-model.md says: agreement of each variant with `full` through the server, and
// µs a run. After `npm run build`, with the server running:
//   node docs/results/bring-your-own-model.mjs models/similarity http://127.0.0.1:8080
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { measureRunTimes, TIMED_ROWS } from '../../dist/src/cli/evaluation/run-times.js';
import { createRandom, readManifest, shuffle } from '../../dist/src/core/index.js';
import { kendallTau, overlapAtK } from '../../dist/src/evaluation/index.js';

const CALIBRATION_REQUESTS = 96;
const QUERIES = 200;
const CANDIDATES = 200;

const [, , bundle = 'models/similarity', url = 'http://127.0.0.1:8080'] = process.argv;
const manifest = await readManifest(bundle);
const { dimensions, vectors: file } = manifest.retrievers.vector.index;
const { rows } = manifest.catalogue;
const bytes = await readFile(join(bundle, file));
const vectors = new Float32Array(bytes.buffer, bytes.byteOffset, rows * dimensions);

/** Candidates of a query by falling score of a pipeline. */
async function search(queryVector, pipeline) {
  const response = await fetch(`${url}/v1/search`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-whittle-pipeline': pipeline },
    body: JSON.stringify({ queryVector, k: CANDIDATES }),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(JSON.stringify(body));
  return body.items;
}

function interval(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return `${mean.toFixed(3)} ± ${(1.96 * Math.sqrt(variance / values.length)).toFixed(3)}`;
}

// The vectors that calibration with its default seed did not use.
const unused = shuffle(Int32Array.from({ length: rows }, (_, row) => row), createRandom(1)).subarray(
  CALIBRATION_REQUESTS,
);
const names = Object.keys(manifest.variants).filter((name) => name !== 'full');
const seen = Object.fromEntries(names.map((name) => [name, { overlap: [], tau: [], error: [] }]));
const spreads = [];
for (const row of unused.subarray(0, QUERIES)) {
  const query = Array.from(vectors.subarray(row * dimensions, (row + 1) * dimensions));
  const full = await search(query, 'full');
  const fullScores = new Map(full.map(({ id, score }) => [id, score]));
  spreads.push(full[0].score - full.at(-1).score);
  for (const name of names) {
    const items = await search(query, name);
    const ids = (list) => list.map(({ id }) => Number(id));
    const expected = items.map(({ id }) => fullScores.get(id));
    const scores = items.map(({ score }) => score);
    seen[name].overlap.push(overlapAtK(ids(full), ids(items), 10));
    seen[name].tau.push(kendallTau(expected, scores));
    seen[name].error.push(...scores.map((score, place) => Math.abs(score - expected[place])));
  }
}
console.log(`spread of full's scores over ${CANDIDATES} candidates: ${interval(spreads)}`);
for (const [name, { overlap, tau, error }] of Object.entries(seen)) {
  const mean = error.reduce((sum, value) => sum + value, 0) / error.length;
  console.log(
    `${name}: overlap@10 ${interval(overlap)}, Kendall's tau ${interval(tau)}, mean score error ${mean.toExponential(1)}`,
  );
}
console.log(`µs a run at ${TIMED_ROWS.join(', ')} rows:`);
for (const [name, times] of await measureRunTimes(bundle, manifest))
  console.log(`${name}: ${times.map((time) => time.toFixed(0)).join(', ')}`);
