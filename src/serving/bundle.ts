import { realpath } from 'node:fs/promises';
import {
  readManifest,
  VerificationRecord,
  verifyFiles,
  type BundleManifest,
  type VerifiedFiles,
} from '../core/index.js';
import type { ItemFeatures } from './binding.js';
import { openCatalogue, type Catalogue } from './catalogue.js';
import { openItemFeatures } from './item-features.js';
import { checkModelFiles, modelFilesOf, type ModelFiles } from './model-files.js';

/** A verified bundle with its catalogue in memory. */
export interface OpenBundle {
  /** Without links: a `current` link that is turned to another bundle does not change this one. */
  readonly directory: string;
  readonly manifest: BundleManifest;
  /** Identities that the files had when they were verified. */
  readonly verified: VerifiedFiles;
  readonly catalogue: Catalogue;
  readonly features: ItemFeatures;
  /** What each model is made of, by its file. */
  readonly models: ReadonlyMap<string, ModelFiles>;
}

/**
 * Opens a bundle: every file is there, plain, and has its recorded hash; the models are well formed and of a reasonable
 * size; the catalogue is as described.
 * @param record what earlier starts verified, which is then not read again.
 * @param previous a state of the bundle whose catalogue is used where it is the same.
 * @throws FILE_MISSING, FILE_CORRUPT, HASH_MISMATCH, BUNDLE_INVALID, MODEL_INVALID, GRAPH_UNSUPPORTED.
 */
export async function openBundle(
  directory: string,
  record: VerificationRecord = VerificationRecord.none(),
  previous?: OpenBundle,
): Promise<OpenBundle> {
  // Where there is no such folder, reading the manifest says so.
  const root = await realpath(directory).catch(() => directory);
  const manifest = await readManifest(root);
  const verified = await verifyFiles(root, manifest, record);
  const models = new Map<string, ModelFiles>();
  for (const file of modelFilesOf(manifest)) models.set(file, await checkModelFiles(root, manifest, file));
  const catalogue =
    previous !== undefined && catalogueKey(previous.manifest) === catalogueKey(manifest)
      ? previous.catalogue
      : await openCatalogue(root, manifest);
  const features = await openItemFeatures(root, manifest.contract?.inputs ?? [], catalogue);
  return { directory: root, manifest, verified, catalogue, features, models };
}

/** All that a catalogue in memory follows from. */
function catalogueKey({ catalogue, files }: BundleManifest): string {
  return JSON.stringify([catalogue, files[catalogue.file]?.sha256]);
}
