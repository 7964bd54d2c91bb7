/** What a process takes from the network before it refuses, and how long it waits for others, each with its default. */
export interface Limits {
  /** Largest control message, in bytes. @default 16 MiB */
  readonly maxControlBytes: number;
  /** Connections at once, of all kinds. @default 4096 */
  readonly maxConnections: number;
  /** Time from connecting to the proof of the token. @default 10 s */
  readonly authenticationTimeoutMs: number;
  /** Time to reach another process, retries included. @default 60 s */
  readonly connectTimeoutMs: number;
  /** Between two signs of life of a worker. @default 100 ms */
  readonly heartbeatMs: number;
  /** Silence after which a worker of a generation counts as lost. @default 1 s */
  readonly heartbeatTimeoutMs: number;
  /** The same of a worker that still loads. @default 15 s */
  readonly loadingTimeoutMs: number;
  /** How long a worker may load before it is ready: the engine, the job, its data, the model. @default 30 min */
  readonly readyTimeoutMs: number;
  /** The least time that one step's gradients may take; 20 times the slowest of late, if that is more. @default 10 s */
  readonly stepTimeoutMs: number;
  /** The same of what lies between two steps: a validation, a checkpoint. @default 30 min */
  readonly betweenStepsTimeoutMs: number;
  /** How long a run with too few workers waits for more. @default 5 min */
  readonly workersTimeoutMs: number;
  /** How long a coordinator that is back waits for the workers of its run to say that they are there. @default 3 s */
  readonly returnTimeoutMs: number;
  /** How long a worker goes on without a coordinator. @default 10 min */
  readonly coordinatorTimeoutMs: number;
}

export const defaultLimits: Limits = {
  maxControlBytes: 16 * 1024 * 1024,
  maxConnections: 4096,
  authenticationTimeoutMs: 10_000,
  connectTimeoutMs: 60_000,
  heartbeatMs: 100,
  heartbeatTimeoutMs: 1_000,
  loadingTimeoutMs: 15_000,
  readyTimeoutMs: 1_800_000,
  stepTimeoutMs: 10_000,
  betweenStepsTimeoutMs: 1_800_000,
  workersTimeoutMs: 300_000,
  returnTimeoutMs: 3_000,
  coordinatorTimeoutMs: 600_000,
};
