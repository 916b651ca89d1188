import { must, toWhittleError, WhittleError, type ArmConfig, type ExperimentConfig } from '../core/index.js';
import { sampleRatio, type SampleRatio } from '../statistics/index.js';
import { createAssigner, integerWeights, type Assigner } from './assignment.js';
import { DistinctCounter } from './distinct-counter.js';

/** The arm that serves a unit. */
export interface Assignment {
  readonly experiment: string;
  readonly arm: string;
  readonly pipeline: string;
}

/** What an experiment is and what its arms have served since the process started. */
export interface ExperimentReport {
  readonly name: string;
  readonly enabled: boolean;
  readonly salt: string;
  readonly arms: readonly ArmReport[];
  /** Whether unique users split as the weights say; absent while there are too few users, or fewer than two arms. */
  readonly sampleRatio?: SampleRatio;
}

export interface ArmReport {
  readonly name: string;
  readonly weight: number;
  /** Part of the traffic that the weight gives, 0 to 1. */
  readonly share: number;
  readonly pipeline: string;
  /** Requests recorded. */
  readonly requests: number;
  /** Unique users among them: exact up to 65,536 an arm, above that an estimate (standard error 0.5 %). */
  readonly users: number;
}

export interface Experiments {
  /** The arm of a unit in the running experiment; undefined where none runs. Pure: the same in every process. */
  assign(unitId: string): Assignment | undefined;
  /** Counts a request that an arm served; `user` is absent where the request named none. */
  record(assignment: Assignment, user?: string): void;
  report(): readonly ExperimentReport[];
}

interface ArmState {
  readonly config: ArmConfig;
  readonly share: number;
  readonly users: DistinctCounter;
  requests: number;
}

interface ExperimentState {
  readonly config: ExperimentConfig;
  readonly arms: ReadonlyMap<string, ArmState>;
}

function checkUnique(names: readonly string[], field: string): void {
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined)
    throw new WhittleError('CONFIG_INVALID', `Two ${field} have the name "${repeated}".`, {
      field,
      value: repeated,
      allowed: 'unique names',
    });
}

function openExperiment(config: ExperimentConfig): ExperimentState {
  checkUnique(
    config.arms.map((arm) => arm.name),
    `experiments.${config.name}.arms`,
  );
  const weights = integerWeights(config.arms);
  const total = weights.reduce((sum, weight) => sum + weight, 0n);
  const arms = config.arms.map((arm, index): [string, ArmState] => {
    const share = Number(must(weights[index], 'weight')) / Number(total);
    return [arm.name, { config: arm, share, users: new DistinctCounter(), requests: 0 }];
  });
  return { config, arms: new Map(arms) };
}

function reportArm({ config, share, users, requests }: ArmState): ArmReport {
  const { name, weight, pipeline } = config;
  return { name, weight, share, pipeline, requests, users: users.estimate() };
}

/** Compared at one sampling depth, where counts are of the same sample of ids even if they are estimates. */
function splitOf(arms: readonly ArmState[]): SampleRatio | undefined {
  const depth = Math.max(...arms.map((arm) => arm.users.depth));
  try {
    return sampleRatio(
      arms.map(({ users, config }) => ({ users: users.sampledAt(depth), weight: config.weight })),
    );
  } catch (thrown) {
    if (toWhittleError(thrown).code === 'STATISTIC_UNDEFINED') return undefined;
    throw thrown;
  }
}

function reportExperiment({ config, arms }: ExperimentState): ExperimentReport {
  const { name, enabled, salt } = config;
  const states = [...arms.values()];
  const split = splitOf(states);
  const report = { name, enabled, salt, arms: states.map(reportArm) };
  return split === undefined ? report : { ...report, sampleRatio: split };
}

/**
 * The experiments of a configuration. The first enabled one takes the traffic. The counters live in memory and start
 * at zero with the process; the exposures in the store are the lasting record.
 * @throws CONFIG_INVALID where names repeat, a weight is negative or not finite, or no weight is above 0.
 */
export function createExperiments(configs: readonly ExperimentConfig[]): Experiments {
  checkUnique(
    configs.map((config) => config.name),
    'experiments',
  );
  const states = new Map(configs.map((config) => [config.name, openExperiment(config)]));
  const running = configs.find((config) => config.enabled);
  const assigner: Assigner<ArmConfig> | undefined = running && createAssigner(running.salt, running.arms);
  return {
    assign(unitId) {
      if (running === undefined || assigner === undefined) return undefined;
      const arm = assigner(unitId);
      return { experiment: running.name, arm: arm.name, pipeline: arm.pipeline };
    },
    record(assignment, user) {
      const arm = must(
        states.get(assignment.experiment)?.arms.get(assignment.arm),
        'the arm of an assignment',
      );
      arm.requests++;
      if (user !== undefined) arm.users.add(user);
    },
    report: () => [...states.values()].map(reportExperiment),
  };
}
