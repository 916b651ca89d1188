import { must } from '../core/index.js';
import type { OpenBundle } from './bundle.js';
import type { Generation } from './generation.js';
import type { Ranked } from './pipeline.js';
import type { AnyRequest } from './prepare.js';
import type { Route } from './routing.js';
import type { Answer, AnswerInfo, RankedItem, RankedRows } from './types.js';

/** What a pipeline gave, with what the time outside it was. */
export interface Outcome {
  readonly ranked: Ranked;
  readonly cached: boolean;
  readonly historyMs: number;
  /** On the `performance.now()` clock. */
  readonly startedAt: number;
}

/** An answer from what is known of it and what was ranked. */
export type AnswerForm<A> = (info: AnswerInfo, ranked: Ranked, generation: Generation) => A;

/** Rows become ids and titles again. */
export const inItems: AnswerForm<Answer> = (info, ranked, { bundle }) => ({
  ...info,
  items: itemsOf(bundle.catalogue, ranked),
});

/** Rows stay rows. */
export const inRows: AnswerForm<RankedRows> = (info, { rows, scores }) => ({ ...info, rows, scores });

/** What the client is told beside what was ranked. */
export function answerInfo(
  { version }: Generation,
  request: AnyRequest,
  { pipeline, assignment, degradedFrom }: Route,
  { ranked, cached, historyMs, startedAt }: Outcome,
): AnswerInfo {
  const { retrieveMs, rankMs, queueMs } = cached ? { retrieveMs: 0, rankMs: 0, queueMs: 0 } : ranked;
  return {
    requestId: request.requestId,
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
