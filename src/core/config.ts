/** The server's configuration file (YAML or JSON). Every field has a default; see `docs/configuration.md`. */
export interface ServerConfig {
  readonly bundle: string;
  /** Read and try out everything at each start, whatever earlier starts found. */
  readonly verify: boolean;
  readonly server: {
    readonly host: string;
    readonly port: number;
    readonly bodyLimitBytes: number;
    /** Time a request may take before it is dropped and answered 504. */
    readonly deadlineMs: number;
    /** Open connections; more are closed at once. */
    readonly maxConnections: number;
    /** Time a client has to send a request's head, and all of it; a client that takes no answer for as long is dropped. */
    readonly headersTimeoutMs: number;
    readonly requestTimeoutMs: number;
    /** Time an idle connection is kept open. */
    readonly keepAliveTimeoutMs: number;
    readonly clients: ClientLimits;
  };
  /** Gateway processes that share the port. */
  readonly gateways: number;
  readonly admin: AdminConfig;
  readonly overload: OverloadConfig;
  readonly runners: {
    /** Runner processes of each variant and retriever; `auto` follows the load. */
    readonly perVariant: number | 'auto';
    /** Rows of candidates that one run may hold. */
    readonly maxBatchRows: number;
    /** Requests that one run may hold. */
    readonly maxBatchRequests: number;
    /** Jobs that may wait for one runner; more are answered 503. */
    readonly queueLimit: number;
    /** Threads inside one operator. */
    readonly threads: number;
    /** A run longer than this means a hung runner, which is killed and replaced. */
    readonly hangTimeoutMs: number;
    /** Crashes within a minute after which a runner is not started again. */
    readonly maxCrashesPerMinute: number;
    /** Time that a model new to this server may take to open; memory that a runner may take beyond its files' bytes. */
    readonly openTimeoutMs: number;
    readonly openMemoryBytes: number;
  };
  /** Folder of the event store. */
  readonly store: { readonly path: string };
  readonly cache: { readonly maxEntries: number; readonly ttlMs: number };
  /** Share of answers whose candidates are ranked again, to compare variants with the full model. */
  readonly shadow: { readonly share: number };
  readonly experiments: readonly ExperimentConfig[];
}

/** What one client may ask for, so that it cannot take the others' share. 0 is no limit. */
export interface ClientLimits {
  /** Header that names the client; its address where absent. Only for callers that are trusted to set it. */
  readonly header?: string;
  readonly requestsPerSecond: number;
  /** Requests that may come at once above the rate. */
  readonly burst: number;
  /** Requests of one client that may be open at once. */
  readonly maxConcurrent: number;
}

/** The admin interface has a listener of its own, on a loopback address; it is off where no token is set. */
export interface AdminConfig {
  readonly host: string;
  readonly port: number;
  /** File that holds the token; the environment's WHITTLE_ADMIN_TOKEN where absent. */
  readonly tokenFile?: string;
  /** Log of every change, each line bound to the one before by its hash. */
  readonly auditPath: string;
}

export interface OverloadConfig {
  /** Objective for the 99th percentile of an answer's time; caps batches and steers admission. */
  readonly p99Ms: number;
  /** Whether the number of admitted requests follows measured latency; else only queue limits hold. */
  readonly adaptive: boolean;
  readonly degradation: DegradationConfig;
}

/** Under load, traffic outside experiments moves to the cheapest pipeline that is known to keep its quality. */
export interface DegradationConfig {
  readonly enabled: boolean;
  /** Time in the queue above which traffic moves, and a quarter of which lets it move back. */
  readonly queueMs: number;
  /** Lowest lower bound of live retention that a pipeline may have to take traffic. */
  readonly retentionFloor: number;
  /** Labelled pairs that retention must rest on. */
  readonly minPairs: number;
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
