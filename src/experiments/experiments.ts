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
  /** Why it takes no traffic although it is enabled; absent where that is not so. */
  readonly paused?: string;
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
  /** Counts a request that an arm served, if that is still there; `user` is absent where the request named none. */
  record(assignment: Assignment, user?: string): void;
  report(): readonly ExperimentReport[];
  /** What is configured now. */
  configs(): readonly ExperimentConfig[];
  /**
   * Puts other experiments in the place of all there are, in one step. An arm keeps its counters where an arm of its
   * name stays in an experiment of the same name and salt; an experiment whose split changed is no longer tested for
   * it, as its users came by more than one.
   * @throws CONFIG_INVALID as {@link createExperiments}; nothing is changed then.
   */
  replace(configs: readonly ExperimentConfig[]): void;
  /** Assigns nobody from now on: what cannot be logged must not be counted. @param reason shown in reports. */
  pause(reason: string): void;
  /** Assigns again; assignments are the ones from before. */
  resume(): void;
  /** Why nobody is assigned; undefined where that is not so. */
  paused(): string | undefined;
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
  /** Whether all users counted came by the present weights. */
  readonly oneSplit: boolean;
}

/** All experiments at one moment; never changed, only replaced, so that no call sees half of a change. */
interface State {
  readonly configs: readonly ExperimentConfig[];
  readonly experiments: ReadonlyMap<string, ExperimentState>;
  readonly running: ExperimentConfig | undefined;
  readonly assigner: Assigner<ArmConfig> | undefined;
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

/** @param known the experiment of this name as it was until now. */
function openExperiment(config: ExperimentConfig, known?: ExperimentState): ExperimentState {
  checkUnique(
    config.arms.map((arm) => arm.name),
    `experiments.${config.name}.arms`,
  );
  const weights = integerWeights(config.arms);
  const total = weights.reduce((sum, weight) => sum + weight, 0n);
  const kept = known?.config.salt === config.salt ? known : undefined;
  const arms = config.arms.map((arm, index): [string, ArmState] => {
    const share = Number(must(weights[index], 'weight')) / Number(total);
    const { users = new DistinctCounter(), requests = 0 } = kept?.arms.get(arm.name) ?? {};
    return [arm.name, { config: arm, share, users, requests }];
  });
  const states = new Map(arms);
  return {
    config,
    arms: states,
    oneSplit: kept === undefined || (kept.oneSplit && sameSplit(kept.arms, states)),
  };
}

function sameSplit(before: ReadonlyMap<string, ArmState>, after: ReadonlyMap<string, ArmState>): boolean {
  const split = (arms: ReadonlyMap<string, ArmState>): string =>
    JSON.stringify([...arms].map(([name, { share }]) => [name, share]));
  return split(before) === split(after);
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

function reportExperiment({ config, arms, oneSplit }: ExperimentState): ExperimentReport {
  const { name, enabled, salt } = config;
  const states = [...arms.values()];
  const split = oneSplit ? splitOf(states) : undefined;
  const report = { name, enabled, salt, arms: states.map(reportArm) };
  return split === undefined ? report : { ...report, sampleRatio: split };
}

function openState(configs: readonly ExperimentConfig[], known?: State): State {
  checkUnique(
    configs.map((config) => config.name),
    'experiments',
  );
  const experiments = new Map(
    configs.map((config) => [config.name, openExperiment(config, known?.experiments.get(config.name))]),
  );
  const running = runningExperiment(configs);
  return { configs, experiments, running, assigner: running && createAssigner(running.salt, running.arms) };
}

/** The experiment that takes the traffic: the first enabled one. */
export function runningExperiment(configs: readonly ExperimentConfig[]): ExperimentConfig | undefined {
  return configs.find((config) => config.enabled);
}

/**
 * The experiments of a configuration. The first enabled one takes the traffic. The counters live in memory and start
 * at zero with the process; the exposures in the store are the lasting record.
 * @throws CONFIG_INVALID where names repeat, a weight is negative or not finite, or no weight is above 0.
 */
export function createExperiments(initial: readonly ExperimentConfig[]): Experiments {
  let state = openState(initial);
  let paused: string | undefined;
  return {
    assign(unitId) {
      const { running, assigner } = state;
      if (running === undefined || assigner === undefined || paused !== undefined) return undefined;
      const arm = assigner(unitId);
      return { experiment: running.name, arm: arm.name, pipeline: arm.pipeline };
    },
    record(assignment, user) {
      // The arm may have been taken away between assignment and answer.
      const arm = state.experiments.get(assignment.experiment)?.arms.get(assignment.arm);
      if (arm === undefined) return;
      arm.requests++;
      if (user !== undefined) arm.users.add(user);
    },
    report: () =>
      [...state.experiments.values()].map(reportExperiment).map((report) => {
        return paused === undefined || !report.enabled ? report : { ...report, paused };
      }),
    configs: () => state.configs,
    replace(configs) {
      state = openState(configs, state);
    },
    pause(reason) {
      paused = reason;
    },
    resume() {
      paused = undefined;
    },
    paused: () => paused,
  };
}
