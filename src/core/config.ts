/** The server's configuration file (YAML or JSON). Every field has a default; see `docs/configuration.md`. */
export interface ServerConfig {
  readonly bundle: string;
  readonly server: {
    readonly host: string;
    readonly port: number;
    readonly bodyLimitBytes: number;
    /** Time a request may take before it is dropped and answered 504. */
    readonly deadlineMs: number;
  };
  readonly runners: {
    /** Rows of candidates that one run may hold. */
    readonly maxBatchRows: number;
    /** Jobs that may wait for one runner; more are answered 503. */
    readonly queueLimit: number;
    /** Threads inside one operator. */
    readonly threads: number;
    /** A run longer than this means a hung runner, which is killed and replaced. */
    readonly hangTimeoutMs: number;
  };
  /** Folder of the event store. */
  readonly store: { readonly path: string };
  readonly cache: { readonly maxEntries: number; readonly ttlMs: number };
  /** Share of requests whose candidates the full model ranks again after the answer. */
  readonly shadow: { readonly share: number };
  readonly experiments: readonly ExperimentConfig[];
}

/** The first running experiment takes the traffic; weights are positive numbers with any sum. */
export interface ExperimentConfig {
  readonly name: string;
  readonly salt: string;
  readonly enabled: boolean;
  readonly arms: readonly ArmConfig[];
}

export interface ArmConfig {
  readonly name: string;
  readonly weight: number;
  readonly pipeline: string;
}
