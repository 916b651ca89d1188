import { closeSync, fstatSync, openSync, readSync, realpathSync } from 'node:fs';
import { ModelProtoSchema } from 'onnx-buf';
import { WhittleError } from '../core/index.js';
import { DeferredPayloads } from './deferred-payloads.js';
import { fileVersion } from './file-content.js';
import { checkWire } from './wire.js';
import { WireReader } from './wire-reader.js';

const WINDOW_BYTES = 64 * 1024;

/** A model file open for reading. */
export class ModelFile {
  readonly path: string;
  readonly byteLength: number;
  readonly #file: number;
  readonly #version: string;

  private constructor(path: string, file: number) {
    const stats = fstatSync(file, { bigint: true });
    this.path = path;
    this.byteLength = Number(stats.size);
    this.#file = file;
    this.#version = fileVersion(stats);
  }

  /** Opens the file for the time of `use`. @throws FILE_MISSING where it cannot be opened or read. */
  static read<Result>(path: string, use: (file: ModelFile) => Result): Result {
    const descriptor = attempt(path, () => openSync(path, 'r'));
    try {
      const real = attempt(path, () => realpathSync(path));
      return use(new ModelFile(real, descriptor));
    } finally {
      closeSync(descriptor);
    }
  }

  /**
   * The file with its large tensors left out: the bytes to decode, and where the values are.
   * @throws MODEL_INVALID with the place where the file is no protobuf message of a model.
   */
  outline(): { readonly bytes: Uint8Array; readonly deferred: DeferredPayloads } {
    const deferred = new DeferredPayloads({ path: this.path, version: this.#version });
    const readInto = (target: Uint8Array, offset: number): Uint8Array => this.#readInto(target, offset);
    const window = (offset: number, byteLength: number): Uint8Array =>
      readInto(new Uint8Array(byteLength), offset);
    const reader = new WireReader(window, this.byteLength, WINDOW_BYTES);
    checkWire(ModelProtoSchema, reader, (payload, around) => {
      deferred.visit(payload, around);
    });
    return { bytes: deferred.withoutPayloads(readInto, this.byteLength), deferred };
  }

  /** The whole file. */
  all(): Uint8Array {
    return this.#readInto(new Uint8Array(this.byteLength), 0);
  }

  #readInto(target: Uint8Array, offset: number): Uint8Array {
    const { byteLength } = target;
    for (let read = 0; read < byteLength;) {
      const step = attempt(this.path, () =>
        readSync(this.#file, target, read, byteLength - read, offset + read),
      );
      if (step === 0)
        throw new WhittleError('FILE_CORRUPT', `${this.path} became shorter while it was read`, {
          path: this.path,
        });
      read += step;
    }
    return target;
  }
}

function attempt<Result>(path: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw new WhittleError('FILE_MISSING', `Cannot read the model ${path}`, { path }, error);
  }
}
