import { must, toWhittleError, WhittleError } from '../../core/index.js';
import type { OpenSession, Session, TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import type { PassContext } from '../pass.js';
import { generateFeed } from './generate-feed.js';
import type { FeedPlan } from './generate-feed.js';
import { frequentSizes } from './input-hints.js';
import { withSession } from './session.js';

const MAX_TRIES = 40;
const MODEL_SIZES = 12;
const KEY_ELEMENTS = 8;

/**
 * `count` made-up feeds that the model runs on, seeds `seed`, `seed` + 1 and so on. Where it does not run on the plain
 * ones it is tried with one row, other inner lengths (sizes that its constants have) and plain settings, at most 40
 * ways, always the same ones in the same order.
 * @throws GRAPH_UNSUPPORTED where it runs on none, with ONNX Runtime's reason for the first.
 */
export async function findFeeds(
  model: Model,
  { openSession, seed }: { readonly openSession: OpenSession; readonly seed: number },
  count: number,
): Promise<readonly TensorMap[]> {
  const tried = new Set<string>();
  let reason: string | undefined;
  const found = await withSession(model, openSession, async (session) => {
    for (const plan of plansFor(model)) {
      const first = generateFeed(model, seed, plan);
      if (tried.size === MAX_TRIES || tried.has(feedKey(first))) continue;
      tried.add(feedKey(first));
      const others = Array.from({ length: count - 1 }, (_, index) =>
        generateFeed(model, seed + index + 1, plan),
      );
      const failure = await failureOf(session, [first, ...others]);
      if (failure === undefined) return [first, ...others];
      reason ??= failure;
    }
    return undefined;
  });
  if (found !== undefined) return found;
  throw new WhittleError(
    'GRAPH_UNSUPPORTED',
    `The model runs on none of ${tried.size} kinds of made-up inputs: give calibration requests. ${must(reason, 'reason')}`,
    { tried: tried.size, reason },
  );
}

/** Inputs that the model runs on: the first calibration requests, what compressModel found, or made-up ones. */
export async function exampleFeed(model: Model, context: PassContext): Promise<TensorMap> {
  const known = context.calibration?.[0] ?? context.example;
  return known ?? must((await findFeeds(model, context, 1))[0], 'feed');
}

/** Ways to fill what the inputs leave open, the plainest first. */
function plansFor(model: Model): readonly FeedPlan[] {
  const lengths = [4, 1, 16, ...frequentSizes(model.graph, MODEL_SIZES)];
  const combined = (['table', 'few'] as const).flatMap((ids, i) =>
    [4, 1].flatMap((rows, r) =>
      (['drawn', 'plain'] as const).flatMap((settings, s) =>
        lengths.map((innerLength, l) => ({
          plan: { ids, rows, settings, innerLength },
          distance: i + r + s + l,
        })),
      ),
    ),
  );
  return combined.sort((a, b) => a.distance - b.distance).map(({ plan }) => plan);
}

/** Equal for feeds that have the same shapes and the same first values. */
function feedKey(feed: TensorMap): string {
  const parts = Object.entries(feed).map(([name, { dims, data }]) => [
    name,
    dims,
    String(data.slice(0, KEY_ELEMENTS)),
  ]);
  return JSON.stringify(parts);
}

async function failureOf(session: Session, feeds: readonly TensorMap[]): Promise<string | undefined> {
  try {
    for (const feed of feeds) await session.run(feed);
    return undefined;
  } catch (thrown) {
    const { message, details } = toWhittleError(thrown);
    return typeof details['reason'] === 'string' ? details['reason'] : message;
  }
}
