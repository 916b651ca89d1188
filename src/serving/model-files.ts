import { stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { WhittleError, type BundleManifest } from '../core/index.js';
import { checkModelLimits, packedBytes, readModel, type ExternalTensor } from '../onnx/index.js';

/** Files of the bundle that a model is made of. */
export interface ModelFiles {
  /** The graph's file, then the weight files that it points at; other models may share those. */
  readonly files: readonly string[];
  readonly graphBytes: number;
  readonly weightBytes: number;
}

/**
 * Reads a model as data, before ONNX Runtime sees it: it is well formed and of a reasonable size, and each tensor that
 * is kept outside lies in a file that bundle.json lists, inside its bounds, at an offset that fits its type.
 * @param root the bundle's folder, without links.
 * @throws MODEL_INVALID, GRAPH_UNSUPPORTED, FILE_MISSING, BUNDLE_INVALID naming the file and the tensor.
 */
export async function checkModelFiles(
  root: string,
  manifest: BundleManifest,
  file: string,
): Promise<ModelFiles> {
  // Another ending would make ONNX Runtime read another format than was checked here.
  if (!file.endsWith('.onnx'))
    throw new WhittleError('BUNDLE_INVALID', `${file} is named as a model, but does not end in .onnx`, {
      file,
      allowed: 'a name that ends in .onnx',
    });
  const path = join(root, file);
  const external: ExternalTensor[] = [];
  const model = await readModel(path, { onExternal: (tensor) => external.push(tensor) });
  namingFile(file, () => {
    checkModelLimits(model);
  });
  const weights = new Set<string>();
  for (const tensor of external) weights.add(weightFile(root, manifest, file, tensor));
  const sizes = await Promise.all([...weights].map((weight) => bytesOfFile(join(root, weight))));
  return {
    files: [file, ...weights],
    graphBytes: await bytesOfFile(path),
    weightBytes: sizes.reduce((sum, size) => sum + size, 0),
  };
}

/** Every model of a bundle: variants, towers, and indexes that are kept as a model. */
export function modelFilesOf({ variants, retrievers }: BundleManifest): ReadonlySet<string> {
  const files = Object.values(variants).map(({ file }) => file);
  for (const retriever of Object.values(retrievers)) {
    if (retriever.kind === 'text') continue;
    if (retriever.kind === 'tower') files.push(retriever.file);
    const { kind, file } = retriever.index;
    if (kind === 'flat' && file !== undefined) files.push(file);
  }
  return new Set(files);
}

/** The bundle's name of the file that holds a tensor. */
function weightFile(
  root: string,
  { files }: BundleManifest,
  model: string,
  { name, dtype, path, offset }: ExternalTensor,
): string {
  const file = relative(root, path).split(sep).join('/');
  if (!Object.hasOwn(files, file))
    throw new WhittleError(
      'BUNDLE_INVALID',
      `${model}: tensor ${name} is kept in ${file}, which bundle.json does not list`,
      { file: model, tensor: name, value: file, allowed: 'a file of bundle.json' },
    );
  const elementBytes = packedBytes(dtype, 1);
  if (offset % elementBytes !== 0)
    throw new WhittleError(
      'MODEL_INVALID',
      `${model}: tensor ${name} starts at byte ${offset} of ${file}, which is no multiple of ${elementBytes}`,
      { file: model, tensor: name, value: offset, allowed: `a multiple of ${elementBytes}` },
    );
  return file;
}

async function bytesOfFile(path: string): Promise<number> {
  return (await stat(path)).size;
}

function namingFile(file: string, check: () => void): void {
  try {
    check();
  } catch (thrown) {
    if (!(thrown instanceof WhittleError)) throw thrown;
    throw new WhittleError(thrown.code, `${file}: ${thrown.message}`, { ...thrown.details, file }, thrown);
  }
}
