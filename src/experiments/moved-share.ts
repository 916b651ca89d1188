import { must, type ExperimentConfig } from '../core/index.js';
import { integerWeights } from './assignment.js';
import { runningExperiment } from './experiments.js';

/** Ends of the ranges of hashes that the arms take, as parts of all hashes, in the arms' order. */
function rangeEnds({ arms }: ExperimentConfig): readonly number[] {
  const weights = integerWeights(arms);
  const total = Number(weights.reduce((sum, weight) => sum + weight, 0n));
  let sum = 0n;
  return weights.map((weight) => Number((sum += weight)) / total);
}

/** Range of hashes of each arm. */
function ranges(experiment: ExperimentConfig): ReadonlyMap<string, readonly [start: number, end: number]> {
  const ends = rangeEnds(experiment);
  return new Map(
    experiment.arms.map(({ name }, place) => [name, [ends[place - 1] ?? 0, must(ends[place], 'end')]]),
  );
}

/** Share of users that keep their arm; hashes under two salts are independent of each other. */
function keptShare(before: ExperimentConfig, after: ExperimentConfig): number {
  const sameSalt = before.salt === after.salt;
  const known = ranges(before);
  let kept = 0;
  for (const [name, [start, end]] of ranges(after)) {
    const [oldStart, oldEnd] = known.get(name) ?? [0, 0];
    if (sameSalt) kept += Math.max(0, Math.min(end, oldEnd) - Math.max(start, oldStart));
    else kept += (end - start) * (oldEnd - oldStart);
  }
  return kept;
}

/**
 * Share of all users, 0 to 1, whose arm changes when one list of experiments takes the place of another. Follows from
 * the ranges of hashes that {@link createAssigner} gives the arms; entering and leaving every experiment counts.
 * @throws CONFIG_INVALID as {@link integerWeights}.
 */
export function movedShare(before: readonly ExperimentConfig[], after: readonly ExperimentConfig[]): number {
  const [old, next] = [runningExperiment(before), runningExperiment(after)];
  if (old === undefined && next === undefined) return 0;
  if (old?.name !== next?.name || old === undefined || next === undefined) return 1;
  return Math.min(1, Math.max(0, 1 - keptShare(old, next)));
}
