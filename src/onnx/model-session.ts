import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenSession, Session, SessionOptions } from '../core/index.js';
import { encodeModel, initializersOf } from './codec.js';
import type { Model } from './model.js';
import { writeSessionFiles } from './session-files.js';
import { byteLength } from './tensors.js';

/** Models up to this size go to ONNX Runtime in memory. */
const IN_MEMORY_BYTES = 16 * 1024 * 1024;
/** Above this, a private copy of the dense weights would cost more than it speeds up a few runs. */
const PREPACKING_UNTIL_BYTES = 256 * 1000 * 1000;

/**
 * Opens a model for the time of `use`. A large one goes through a temporary folder, so that one of any size can be
 * opened: there ONNX Runtime maps the weights instead of copying them, and those that are in files already are linked.
 * Above 256 MB of weights `prepacking` is off unless `options` say otherwise.
 * @throws MODEL_INVALID where ONNX Runtime cannot load it; FILE_UNWRITABLE, FILE_MISSING, FILE_CORRUPT for its weights.
 */
export async function withModelSession<Result>(
  model: Model,
  openSession: OpenSession,
  use: (session: Session) => Promise<Result>,
  options: SessionOptions = {},
): Promise<Result> {
  const weightBytes = [...initializersOf(model.graph)].reduce((sum, tensor) => sum + byteLength(tensor), 0);
  const chosen = weightBytes > PREPACKING_UNTIL_BYTES ? { prepacking: false, ...options } : options;
  if (weightBytes <= IN_MEMORY_BYTES) return useSession(openSession(encodeModel(model), chosen), use);
  const folder = await mkdtemp(join(tmpdir(), 'whittle-'));
  try {
    const path = await writeSessionFiles(model, folder);
    return await useSession(openSession(path, chosen), use);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function useSession<Result>(
  opening: Promise<Session>,
  use: (session: Session) => Promise<Result>,
): Promise<Result> {
  const session = await opening;
  try {
    return await use(session);
  } finally {
    await session.release();
  }
}
