import { realpathSync, statSync } from 'node:fs';
import { isAbsolute, join, normalize, sep } from 'node:path';
import type { TensorProto } from 'onnx-buf';
import { WhittleError } from '../core/index.js';
import { fileVersion } from './file-content.js';
import type { FileContent } from './model.js';

/**
 * Where an external tensor's bytes are. Nothing is read but the file's size.
 * @param directory the model's folder, which the location must not leave; undefined for a model without one.
 * @param expectedBytes what dtype and dims ask for; the length where the tensor states none.
 * @throws MODEL_INVALID for a location outside the folder or a symbolic link, prepacked weights, or a length that does
 *   not fit; FILE_MISSING where there is no such file.
 */
export function externalContent(
  tensor: TensorProto,
  directory: string | undefined,
  expectedBytes: number,
): FileContent {
  const entries = new Map(tensor.externalData.map((entry) => [entry.key, entry.value]));
  const packed = [...entries.keys()].find((key) => key.startsWith('prepacked'));
  if (packed !== undefined) throw prepacked(tensor.name, packed);
  const path = resolveInside(tensor.name, directory, entries.get('location') ?? '');
  const offset = count(tensor.name, 'offset', entries.get('offset') ?? '0');
  const byteLength = count(tensor.name, 'length', entries.get('length') ?? String(expectedBytes));
  const stats = statSync(path, { bigint: true });
  const size = Number(stats.size);
  if (byteLength !== expectedBytes || offset + byteLength > size)
    throw new WhittleError(
      'MODEL_INVALID',
      `Tensor ${tensor.name} needs ${expectedBytes} bytes, but names ${byteLength} at ${offset} of a file of ${size}`,
      { tensor: tensor.name, path, offset, byteLength, expectedBytes, size },
    );
  return { kind: 'file', path, offset, byteLength, version: fileVersion(stats) };
}

/** Weights in one machine's own layout: places in a file that nothing here checks, and ONNX Runtime maps. */
function prepacked(tensor: string, key: string): WhittleError {
  const remedy = 'save the model without prepacked weights';
  return new WhittleError('MODEL_INVALID', `Tensor ${tensor} has prepacked weights (${key}): ${remedy}`, {
    tensor,
    field: key,
    remedy,
  });
}

function resolveInside(tensor: string, directory: string | undefined, location: string): string {
  const refuse = (reason: string): never => {
    throw new WhittleError('MODEL_INVALID', `Tensor ${tensor}: external data "${location}" ${reason}`, {
      tensor,
      location,
      allowed: "a file inside the model's folder",
    });
  };
  if (directory === undefined) return refuse('cannot be found without the folder of the model');
  if (location === '' || location.includes('\0') || isAbsolute(location))
    return refuse('is not a relative path');
  // ONNX Runtime takes the offset behind this name for an address in its own memory.
  if (location.includes('_ORT_MEM_ADDR_')) return refuse('names memory');
  if (location.split(/[/\\]/).includes('..')) return refuse('contains ".."');
  const root = realpath(tensor, directory);
  const path = join(root, normalize(location));
  if (!path.startsWith(root.endsWith(sep) ? root : root + sep) || realpath(tensor, path) !== path)
    return refuse('is or leads through a symbolic link');
  if (!statSync(path).isFile()) return refuse('is not a file');
  return path;
}

function realpath(tensor: string, path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw new WhittleError(
      'FILE_MISSING',
      `Cannot open ${path}, which holds tensor ${tensor}`,
      { tensor, path },
      error,
    );
  }
}

function count(tensor: string, key: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new WhittleError(
    'MODEL_INVALID',
    `Tensor ${tensor}: external ${key} "${text}" is not a number of bytes`,
    {
      tensor,
      [key]: text,
    },
  );
}
