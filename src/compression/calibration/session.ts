import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenSession, Session } from '../../core/index.js';
import { writeModel } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';

/**
 * Opens a model for the time of `use`. It goes through a temporary folder, because a model of any size can be written
 * there with its large tensors beside it, and ONNX Runtime maps those instead of copying them.
 */
export async function withSession<Result>(
  model: Model,
  openSession: OpenSession,
  use: (session: Session) => Promise<Result>,
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), 'whittle-'));
  try {
    const path = join(directory, 'model.onnx');
    await writeModel(model, path);
    const session = await openSession(path);
    try {
      return await use(session);
    } finally {
      await session.release();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
