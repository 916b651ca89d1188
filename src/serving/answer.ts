import { must } from '../core/index.js';
import type { OpenBundle } from './bundle.js';
import type { Generation } from './generation.js';
import type { Ranked } from './pipeline.js';
import type { AnyRequest } from './prepare.js';
import type { Route } from './routing.js';
import type { Answer, RankedItem } from './types.js';

/** What a pipeline gave, with what the time outside it was. */
export interface Outcome {
  readonly ranked: Ranked;
  readonly cached: boolean;
  readonly historyMs: number;
  /** On the `performance.now()` clock. */
  readonly startedAt: number;
}

/** What the client gets: rows become ids and titles again. */
export function buildAnswer(
  { bundle, version }: Generation,
  request: AnyRequest,
  { pipeline, assignment, degradedFrom }: Route,
  { ranked, cached, historyMs, startedAt }: Outcome,
): Answer {
  const { retrieveMs, rankMs, queueMs } = cached ? { retrieveMs: 0, rankMs: 0, queueMs: 0 } : ranked;
  return {
    requestId: request.requestId,
    items: itemsOf(bundle.catalogue, ranked),
    bundleVersion: version,
    pipeline: pipeline.name,
    variant: ranked.variant,
    ...(assignment === undefined ? {} : { experiment: assignment.experiment, arm: assignment.arm }),
    ...(degradedFrom === undefined ? {} : { degradedFrom }),
    source: ranked.source,
    forced: request.forcedPipeline !== undefined,
    cached,
    timings: { historyMs, retrieveMs, rankMs, queueMs, totalMs: performance.now() - startedAt },
  };
}

/** Both kinds of item are made in one piece: a hundred an answer, a spread each would be felt. */
function itemsOf({ ids, titles }: OpenBundle['catalogue'], { rows, scores }: Ranked): RankedItem[] {
  return rows.map((row, place) => {
    const id = must(ids[row], 'id');
    const score = must(scores[place], 'score');
    return titles === undefined ? { id, score } : { id, title: must(titles[row], 'title'), score };
  });
}
