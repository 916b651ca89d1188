import { must } from '../core/index.js';
import type { Experiments } from '../experiments/index.js';
import type { Store } from '../store/index.js';
import type { Generation } from './generation.js';
import type { Ranked } from './pipeline.js';
import type { AnyRequest } from './prepare.js';
import type { Route } from './routing.js';
import { Traffic } from './traffic.js';
import type { AnswerInfo, Endpoint, Observation } from './types.js';

/** An answer with everything that led to it. */
export interface Served {
  readonly endpoint: Endpoint;
  readonly request: AnyRequest;
  readonly generation: Generation;
  readonly route: Route;
  readonly ranked: Ranked;
  readonly answer: AnswerInfo;
}

/** Does what follows from an answer: exposure, counts, shadow. None of it holds the answer back. */
export class Recorder {
  readonly traffic = new Traffic();
  readonly #store: Store;
  readonly #experiments: Experiments;
  readonly #observe: (observation: Observation) => void;

  constructor(store: Store, experiments: Experiments, observe: (observation: Observation) => void) {
    this.#store = store;
    this.#experiments = experiments;
    this.#observe = observe;
  }

  record(served: Served): void {
    const { endpoint, request, generation, route, answer } = served;
    const { assignment } = route;
    const { ranking } = served.ranked;
    // An answer that is missing from the log is not part of an experiment.
    const isLogged = this.#expose(served);
    if (assignment !== undefined && isLogged) this.#experiments.record(assignment, request.user);
    this.traffic.record(answer);
    if (!answer.cached && ranking !== undefined)
      generation.shadow.consider({ request, pipeline: route.pipeline, ranking });
    this.#observe({ kind: 'answer', endpoint, answer });
  }

  /** False where the log has no room; that is counted. */
  #expose({ request: { user }, generation, ranked, answer }: Served): boolean {
    const { ids } = generation.bundle.catalogue;
    const exposed = this.#store.appendExposure({
      requestId: answer.requestId,
      timeMs: Date.now(),
      ...(user === undefined ? {} : { user }),
      ...(answer.experiment === undefined ? {} : { experiment: answer.experiment }),
      ...(answer.arm === undefined ? {} : { arm: answer.arm }),
      pipeline: answer.pipeline,
      variant: answer.variant,
      forced: answer.forced,
      items: ranked.rows.map((row) => must(ids[row], 'id')),
    });
    if (!exposed) this.#observe({ kind: 'exposure_dropped' });
    return exposed;
  }
}
