import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readManifest, verifyFiles, type BundleManifest } from '../core/index.js';
import { readModel } from '../onnx/index.js';
import type { ItemFeatures } from './binding.js';
import { openCatalogue, type Catalogue } from './catalogue.js';
import { openItemFeatures } from './item-features.js';

/** A verified bundle with its catalogue in memory. */
export interface OpenBundle {
  readonly directory: string;
  readonly manifest: BundleManifest;
  readonly catalogue: Catalogue;
  readonly features: ItemFeatures;
  /** Sizes by variant. */
  readonly variantBytes: ReadonlyMap<string, VariantBytes>;
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
  const sizes = Object.entries(manifest.variants).map(
    async ([name, { file }]): Promise<[string, VariantBytes]> => [
      name,
      await variantBytes(join(directory, file)),
    ],
  );
  return { directory, manifest, catalogue, features, variantBytes: new Map(await Promise.all(sizes)) };
}

/** Bytes of a variant's graph file, and of the weight files it points at, which other variants may share. */
export interface VariantBytes {
  readonly fileBytes: number;
  readonly weightBytes: number;
}

async function variantBytes(path: string): Promise<VariantBytes> {
  const { initializers } = (await readModel(path)).graph;
  const paths = [...initializers.values()].map(({ content }) =>
    content.kind === 'file' ? content.path : path,
  );
  const weights = [...new Set(paths)].filter((weight) => weight !== path);
  const sizes = await Promise.all(weights.map(async (weight) => (await stat(weight)).size));
  return { fileBytes: (await stat(path)).size, weightBytes: sizes.reduce((sum, size) => sum + size, 0) };
}
