import type { OpenSession, TensorMap } from '../../core/index.js';
import { withModelSession } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';

/** Opens a model of any size for the time of `use`; see {@link withModelSession}. */
export const withSession = withModelSession;

/** The outputs of a model on each feed. */
export function runFeeds(
  model: Model,
  feeds: readonly TensorMap[],
  openSession: OpenSession,
): Promise<readonly TensorMap[]> {
  return withSession(model, openSession, async (session) => {
    const results: TensorMap[] = [];
    for (const feed of feeds) results.push(await session.run(feed));
    return results;
  });
}
