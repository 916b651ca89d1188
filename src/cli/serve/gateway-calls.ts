import type { ExperimentConfig, ServerConfig } from '../../core/index.js';
import type { GatewayReport, GatewayStatus, GatheredReports } from '../../http/index.js';
import type { ReloadReport } from '../../serving/index.js';
import type { PlainFailure } from './channel.js';

/** What a gateway starts with. */
export interface StartOrder {
  /** With the experiments that are in force now. */
  readonly config: ServerConfig;
  /** The one in force now, where it is not the bundle's. */
  readonly defaultPipeline: string | undefined;
  readonly quiet: boolean;
}

interface Call<Given, Answer> {
  readonly given: Given;
  readonly answer: Answer;
}

/** What the supervising process asks of a gateway. */
// eslint-disable-next-line @typescript-eslint/consistent-type-definitions -- an interface has no index signature, which Calls asks for
export type GatewayCalls = {
  readonly status: Call<undefined, Pick<GatewayStatus, 'ready' | 'reason' | 'serving'>>;
  readonly report: Call<undefined, GatewayReport>;
  readonly reload: Call<undefined, ReloadReport>;
  readonly pipelines: Call<undefined, readonly string[]>;
  readonly defaultPipeline: Call<undefined, string>;
  readonly setDefaultPipeline: Call<string, undefined>;
  readonly setExperiments: Call<readonly ExperimentConfig[], undefined>;
  /** Answered at once; the process ends when its requests are answered. */
  readonly stop: Call<undefined, undefined>;
};

/** What a gateway asks of the supervising process. */
// eslint-disable-next-line @typescript-eslint/consistent-type-definitions -- as above
export type SupervisorCalls = {
  /** The first call of every gateway. */
  readonly order: Call<undefined, StartOrder>;
  /** It serves at this URL. */
  readonly started: Call<string, undefined>;
  /** It could not start, and ends. */
  readonly failed: Call<PlainFailure, undefined>;
  readonly gather: Call<undefined, GatheredReports>;
};
