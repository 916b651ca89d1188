import type { ExperimentConfig } from '../../core/index.js';
import type { Engine, EngineStatus, ExperimentStatus, ReloadReport } from '../../serving/index.js';

/** One gateway process, as the admin interface shows it. */
export interface GatewayStatus {
  /** Absent where the place of a gateway has no process that serves. */
  readonly pid?: number;
  readonly ready: boolean;
  /** What it waits for, where it is not ready. */
  readonly reason?: string;
  /** Times that a gateway in this place was replaced after it ended. */
  readonly restarts: number;
  readonly serving?: EngineStatus;
}

/** What a reload did in one gateway. */
export interface GatewayReload extends ReloadReport {
  readonly pid: number;
}

/** What the admin interface changes: one gateway, or all that share a port. A change holds in all of them or in none. */
export interface AdminControl {
  gateways(): Promise<readonly GatewayStatus[]>;
  /**
   * Reads the bundle again, one gateway after the other.
   * @throws why the first that failed refused it; those before it serve the new version, the others the old one.
   */
  reload(): Promise<readonly GatewayReload[]>;
  /** Pipelines that are served. */
  pipelines(): Promise<readonly string[]>;
  /** The experiments with what their arms served, over all gateways. */
  experiments(): Promise<readonly ExperimentStatus[]>;
  experimentConfigs(): readonly ExperimentConfig[];
  setExperiments(configs: readonly ExperimentConfig[]): Promise<void>;
  /** The pipeline of requests outside experiments. */
  defaultPipeline(): Promise<string>;
  setDefaultPipeline(name: string): Promise<void>;
}

/** The control of the one gateway that runs in this process. */
export function engineControl(engine: Engine): AdminControl {
  const { pid } = process;
  return {
    gateways: () => Promise.resolve([{ ...readiness(engine), pid, restarts: 0, serving: engine.status() }]),
    reload: async () => [{ pid, ...(await engine.reload()) }],
    pipelines: () => Promise.resolve(engine.pipelines()),
    experiments: () => Promise.resolve(engine.experiments()),
    experimentConfigs: () => engine.experimentConfigs(),
    setExperiments: async (configs) => {
      await Promise.resolve();
      engine.setExperiments(configs);
    },
    defaultPipeline: () => Promise.resolve(engine.defaultPipeline()),
    setDefaultPipeline: async (name) => {
      await Promise.resolve();
      engine.setDefaultPipeline(name);
    },
  };
}

/** Whether an engine takes requests, and why not. */
export function readiness(engine: Engine): Pick<GatewayStatus, 'ready' | 'reason'> {
  const reason = engine.notReadyReason();
  return reason === undefined ? { ready: true } : { ready: false, reason };
}
