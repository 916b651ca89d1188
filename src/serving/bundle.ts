import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readManifest, verifyFiles, type BundleManifest } from '../core/index.js';
import { externalFiles } from '../onnx/index.js';
import type { ItemFeatures } from './binding.js';
import { openCatalogue, type Catalogue } from './catalogue.js';
import { openItemFeatures } from './item-features.js';

/** A verified bundle with its catalogue in memory. */
export interface OpenBundle {
  readonly directory: string;
  readonly manifest: BundleManifest;
  readonly catalogue: Catalogue;
  readonly features: ItemFeatures;
}

/**
 * Opens a bundle: every file is there, has its recorded hash, and the catalogue is as described.
 * @throws FILE_MISSING, FILE_CORRUPT, HASH_MISMATCH, BUNDLE_INVALID.
 */
export async function openBundle(directory: string): Promise<OpenBundle> {
  const manifest = await readManifest(directory);
  await verifyFiles(directory, manifest);
  const catalogue = await openCatalogue(directory, manifest);
  const features = await openItemFeatures(directory, manifest.contract?.inputs ?? [], catalogue);
  return { directory, manifest, catalogue, features };
}

/** Bytes of a variant: its graph file, and the weight files it points at, which other variants may share. */
export async function variantBytes(
  directory: string,
  file: string,
): Promise<{ fileBytes: number; weightBytes: number }> {
  const path = join(directory, file);
  const weights = await externalFiles(path);
  const sizes = await Promise.all(weights.map(async (weight) => (await stat(weight)).size));
  return { fileBytes: (await stat(path)).size, weightBytes: sizes.reduce((sum, size) => sum + size, 0) };
}
