import type { Pipeline } from './pipeline.js';

/**
 * Pipelines that could answer in the place of `from`: they differ from it in the variant of their ranker and in nothing
 * else, so that what is measured of the variant on the same candidates holds for the whole pipeline.
 */
export function takeoversOf(pipelines: Iterable<Pipeline>, from: Pipeline): Pipeline[] {
  return [...pipelines].filter(
    ({ spec, ranker }) =>
      ranker !== undefined &&
      from.ranker !== undefined &&
      ranker.variant !== from.ranker.variant &&
      spec.candidates === from.spec.candidates &&
      spec.recommend === from.spec.recommend &&
      spec.search === from.spec.search &&
      spec.searchRankerWeight === from.spec.searchRankerWeight,
  );
}
