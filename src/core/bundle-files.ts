import { readFile, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { BundleManifest } from './bundle.js';
import { bundleSchema } from './bundle-schema.js';
import { checkBundleLimits } from './bundle-limits.js';
import { WhittleError } from './errors.js';
import { sha256File } from './hash.js';
import { inspectPlainFile } from './plain-file.js';
import { schemaCheck } from './schema.js';

const MANIFEST = 'bundle.json';
/** Names, hashes and recipes of a bundle take some kilobytes. */
const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
const checkManifest = schemaCheck<BundleManifest>(bundleSchema, 'BUNDLE_INVALID', MANIFEST);

/**
 * Reads and checks `<directory>/bundle.json`, references and sizes included; file contents are checked by
 * {@link verifyFiles}.
 *
 * @throws FILE_MISSING, FILE_CORRUPT (not JSON), BUNDLE_INVALID (field or reference, a link, too large).
 */
export async function readManifest(directory: string): Promise<BundleManifest> {
  const path = join(directory, MANIFEST);
  const manifest = checkManifest(parseJson(await readText(directory, path), path));
  checkReferences(manifest);
  checkBundleLimits(manifest);
  return manifest;
}

async function readText(directory: string, path: string): Promise<string> {
  const missing = (cause: unknown): WhittleError =>
    new WhittleError('FILE_MISSING', `No bundle in ${directory}: ${path} cannot be read`, { path }, cause);
  const { size } = await inspectPlainFile(directory, MANIFEST).catch((thrown: unknown) => {
    throw thrown instanceof WhittleError && thrown.code === 'FILE_MISSING' ? missing(thrown) : thrown;
  });
  if (size > MAX_MANIFEST_BYTES)
    throw new WhittleError(
      'BUNDLE_INVALID',
      `${path} has ${String(size)} bytes; at most ${String(MAX_MANIFEST_BYTES)} are read`,
      { file: MANIFEST, bytes: Number(size), allowed: MAX_MANIFEST_BYTES },
    );
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw missing(cause);
  });
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WhittleError('FILE_CORRUPT', `${path} is not JSON: ${String(cause)}`, { path }, cause);
  }
}

/** Every name that one part of the manifest uses must exist in the part that defines it. */
function checkReferences(manifest: BundleManifest): void {
  const { pipelines, retrievers, variants, files } = manifest;
  requireKey(pipelines, manifest.defaultPipeline, 'defaultPipeline');
  for (const [name, pipeline] of Object.entries(pipelines)) {
    for (const use of ['recommend', 'search'] as const) {
      if (pipeline[use] !== undefined) requireKey(retrievers, pipeline[use], `pipelines.${name}.${use}`);
    }
    if (pipeline.ranker !== undefined) requireKey(variants, pipeline.ranker, `pipelines.${name}.ranker`);
  }
  for (const [field, file] of filesUsed(manifest)) requireKey(files, file, field);
  for (const [name, { parent }] of Object.entries(variants)) {
    if (parent !== undefined) requireKey(variants, parent, `variants.${name}.parent`);
    // Metrics and logs name runners by variant or retriever.
    if (Object.hasOwn(retrievers, name)) throw invalid(`variants.${name}`, 'a retriever has that name too');
  }
  if (Object.keys(variants).length === 0) return;
  requireKey(variants, 'full', 'variants');
  if (manifest.contract === undefined) throw invalid('contract', 'variants need one');
}

/** Every file that the manifest names, by the field that names it. */
function filesUsed({ catalogue, users, contract, retrievers, variants }: BundleManifest): [string, string][] {
  const used: [string, string | undefined][] = [
    ['catalogue.file', catalogue.file],
    ['users.file', users?.file],
  ];
  for (const { name, source } of contract?.inputs ?? []) {
    if (source.from === 'vectors') used.push([`contract.inputs.${name}`, source.file]);
  }
  for (const [name, retriever] of Object.entries(retrievers)) {
    if (retriever.kind !== 'vector') used.push([`retrievers.${name}.file`, retriever.file]);
    if (retriever.kind === 'text') continue;
    used.push([`retrievers.${name}.index.vectors`, retriever.index.vectors]);
    used.push([`retrievers.${name}.index.file`, retriever.index.file]);
  }
  for (const [name, { file, report }] of Object.entries(variants)) {
    used.push([`variants.${name}.file`, file], [`variants.${name}.report`, report]);
  }
  return used.filter((entry): entry is [string, string] => entry[1] !== undefined);
}

function invalid(field: string, reason: string): WhittleError {
  return new WhittleError('BUNDLE_INVALID', `${MANIFEST}: ${field}: ${reason}`, { field });
}

function requireKey(map: Readonly<Record<string, unknown>>, key: string, field: string): void {
  if (Object.hasOwn(map, key)) return;
  const allowed = Object.keys(map);
  throw new WhittleError(
    'BUNDLE_INVALID',
    `${MANIFEST}: ${field} names ${key}, which is not there; known: ${allowed.join(', ')}`,
    {
      field,
      value: key,
      allowed,
    },
  );
}

/** Writes bundle.json with the hashes of all files that are in the folder now; replaces the old one in one step. */
export async function writeManifest(
  directory: string,
  manifest: Omit<BundleManifest, 'files'>,
): Promise<BundleManifest> {
  const names = (await listFiles(directory)).filter((name) => name !== MANIFEST).sort();
  const files: Record<string, { sha256: string; bytes: number }> = {};
  for (const name of names) {
    const path = join(directory, name);
    files[name] = { sha256: await sha256File(path), bytes: (await stat(path)).size };
  }
  const complete = checkManifest({ ...manifest, files });
  checkReferences(complete);
  checkBundleLimits(complete);
  const temporary = join(directory, `.${MANIFEST}.${String(process.pid)}`);
  await writeFile(temporary, `${JSON.stringify(complete, null, 2)}\n`);
  await rename(temporary, join(directory, MANIFEST));
  return complete;
}

async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)).split(sep).join('/'));
}
