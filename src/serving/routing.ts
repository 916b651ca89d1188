import type { Assignment, Experiments } from '../experiments/index.js';
import type { Generation } from './generation.js';
import type { Pipeline } from './pipeline.js';
import type { AnyRequest } from './prepare.js';

/** Where a request goes, and why. */
export interface Route {
  readonly pipeline: Pipeline;
  /** Present where an experiment decided. */
  readonly assignment?: Assignment;
  /** The pipeline that the request would have met without overload. */
  readonly degradedFrom?: string;
}

/**
 * The pipeline of a request: the forced one, its arm's, or the default, which under overload another one may take over
 * from. A forced request takes part in no experiment, and neither it nor an experiment's user is ever moved.
 * @param takeover who answers in the place of the default pipeline, if anyone.
 * @param defaultPipeline where the bundle's own does not hold.
 * @throws NOT_FOUND
 */
export function routeRequest(
  { bundle, fleet }: Generation,
  experiments: Experiments,
  request: AnyRequest,
  takeover: (from: Pipeline, request: AnyRequest) => Pipeline | undefined,
  defaultPipeline = bundle.manifest.defaultPipeline,
): Route {
  const { forcedPipeline, user } = request;
  if (forcedPipeline !== undefined) return { pipeline: fleet.pipeline(forcedPipeline) };
  const assignment = user === undefined ? undefined : experiments.assign(user);
  if (assignment !== undefined) return { pipeline: fleet.pipeline(assignment.pipeline), assignment };
  const from = fleet.pipeline(defaultPipeline);
  const to = takeover(from, request);
  return to === undefined ? { pipeline: from } : { pipeline: to, degradedFrom: from.name };
}
