import { toWhittleError, WhittleError, type ExperimentConfig } from '../../core/index.js';
import { movedShare } from '../../experiments/index.js';
import type { AuditActor, AuditLog } from '../../store/index.js';
import type { AdminControl, GatewayReload } from './control.js';

/** What a change of an experiment names: only what is to be different. */
export interface ExperimentPatch {
  readonly enabled?: boolean;
  /** New weights by arm; arms not named keep theirs. */
  readonly weights?: Readonly<Record<string, number>>;
}

export interface ExperimentsChange {
  readonly experiments: readonly ExperimentConfig[];
  /** Percent of all users whose arm is another one now. */
  readonly usersMovedPercent: number;
}

/** Makes changes and writes each into the audit log: before it is made, and again what came of it. */
export class Changes {
  readonly #control: AdminControl;
  readonly #audit: AuditLog;
  /** Settles when the changes taken so far are made: each one starts from what the one before left. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(control: AdminControl, audit: AuditLog) {
    this.#control = control;
    this.#audit = audit;
  }

  /** @throws what {@link AdminControl.reload} throws, FILE_UNWRITABLE. */
  async reload(actor: AuditActor): Promise<readonly GatewayReload[]> {
    const before = (await this.#control.gateways()).map(({ pid, serving }) => ({
      pid,
      bundleVersion: serving?.bundleVersion,
    }));
    return this.#audit.change(
      { actor, action: 'reload', before },
      () => this.#control.reload(),
      (after) => after,
    );
  }

  /** Replaces all experiments. @throws INPUT_INVALID, NOT_FOUND, FILE_UNWRITABLE. */
  replaceExperiments(actor: AuditActor, after: readonly ExperimentConfig[]): Promise<ExperimentsChange> {
    return this.#inTurn(() => this.#setExperiments(actor, 'experiments.replace', after));
  }

  /** Changes one experiment; its salt stays, so that users move only as far as the weights say. @throws as above. */
  patchExperiment(actor: AuditActor, name: string, patch: ExperimentPatch): Promise<ExperimentsChange> {
    return this.#inTurn(() => {
      const after = patched(this.#control.experimentConfigs(), name, patch);
      return this.#setExperiments(actor, 'experiments.patch', after);
    });
  }

  /** @throws NOT_FOUND, FILE_UNWRITABLE. */
  setDefaultPipeline(actor: AuditActor, after: string): Promise<void> {
    return this.#inTurn(async () => {
      const before = await this.#control.defaultPipeline();
      const change = { actor, action: 'default-pipeline.set', before, after };
      await this.#audit.change(change, () => this.#control.setDefaultPipeline(after));
    });
  }

  async #setExperiments(
    actor: AuditActor,
    action: string,
    after: readonly ExperimentConfig[],
  ): Promise<ExperimentsChange> {
    const before = this.#control.experimentConfigs();
    await this.#audit.change({ actor, action, before, after }, () =>
      this.#control.setExperiments(after).catch((thrown: unknown) => {
        throw asInputError(thrown);
      }),
    );
    const usersMovedPercent = Math.round(movedShare(before, after) * 10_000) / 100;
    return { experiments: after, usersMovedPercent };
  }

  #inTurn<T>(make: () => Promise<T>): Promise<T> {
    const made = this.#tail.then(make);
    this.#tail = made.catch(() => undefined);
    return made;
  }
}

/** What would be a wrong configuration file is a wrong body here. */
function asInputError(thrown: unknown): WhittleError {
  const error = toWhittleError(thrown);
  if (error.code !== 'CONFIG_INVALID') return error;
  return new WhittleError('INPUT_INVALID', error.message, error.details, error);
}

function patched(
  configs: readonly ExperimentConfig[],
  name: string,
  { enabled, weights = {} }: ExperimentPatch,
): ExperimentConfig[] {
  const experiment = configs.find((config) => config.name === name);
  if (experiment === undefined) {
    const allowed = configs.map((config) => config.name);
    throw new WhittleError('NOT_FOUND', `There is no experiment ${name}`, {
      field: 'name',
      value: name,
      allowed,
    });
  }
  checkArms(experiment, Object.keys(weights));
  const arms = experiment.arms.map((arm) => ({ ...arm, weight: weights[arm.name] ?? arm.weight }));
  const changed = { ...experiment, enabled: enabled ?? experiment.enabled, arms };
  return configs.map((config) => (config === experiment ? changed : config));
}

function checkArms({ name, arms }: ExperimentConfig, named: readonly string[]): void {
  const allowed = arms.map((arm) => arm.name);
  const unknown = named.find((arm) => !allowed.includes(arm));
  if (unknown === undefined) return;
  throw new WhittleError('INPUT_INVALID', `Experiment ${name} has no arm ${unknown}`, {
    field: `weights.${unknown}`,
    value: unknown,
    allowed,
  });
}
