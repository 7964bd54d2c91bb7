/** What a listener takes from the network before it refuses, each with its default. */
export interface Limits {
  /** Largest control message, in bytes. @default 16 MiB */
  readonly maxControlBytes: number;
  /** Connections at once, of all kinds. @default 4096 */
  readonly maxConnections: number;
  /** Time from connecting to the proof of the token. @default 10 s */
  readonly authenticationTimeoutMs: number;
  /** Time to reach another process, retries included. @default 60 s */
  readonly connectTimeoutMs: number;
  /** Between two signs of life of a worker. @default 1 s */
  readonly heartbeatMs: number;
  /** Silence after which a worker counts as lost. @default 15 s */
  readonly heartbeatTimeoutMs: number;
}

export const defaultLimits: Limits = {
  maxControlBytes: 16 * 1024 * 1024,
  maxConnections: 4096,
  authenticationTimeoutMs: 10_000,
  connectTimeoutMs: 60_000,
  heartbeatMs: 1_000,
  heartbeatTimeoutMs: 15_000,
};
