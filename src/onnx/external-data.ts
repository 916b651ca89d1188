import { realpathSync, statSync } from 'node:fs';
import { isAbsolute, join, normalize, sep } from 'node:path';
import type { TensorProto } from 'onnx-buf';
import { WhittleError } from '../core/index.js';
import { fileVersion } from './file-content.js';
import type { TensorContent } from './model.js';

/**
 * Where an external tensor's bytes are. Nothing is read but the file's size.
 * @param directory the model's folder, which the location must not leave; undefined for a model without one.
 * @param expectedBytes what dtype and dims ask for; the length where the tensor states none.
 * @throws MODEL_INVALID for a location outside the folder or a symbolic link, or a length that does not fit;
 *   FILE_MISSING where there is no such file.
 */
export function externalContent(
  tensor: TensorProto,
  directory: string | undefined,
  expectedBytes: number,
): TensorContent {
  const entries = new Map(tensor.externalData.map((entry) => [entry.key, entry.value]));
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
