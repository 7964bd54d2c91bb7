/**
 * The network that a simulation runs on, as plain numbers. Hosts of equal size, one card each, behind switches that never
 * block; processes whose comm threads share the cores of their host. docs/scale.md says what this leaves out.
 */

export interface Network {
  /** Workers of one host, one to a GPU; ranks of a host are neighbours. @default 8 */
  readonly workersPerHost: number;
  /** Cores for the comm threads of one host. Fewer than workers: the threads take turns. @default 8 */
  readonly coresPerHost: number;
  /** What a host's card carries in each direction at once, bytes/s without packet headers. @default 12.5e9 × 0.94 */
  readonly cardBytesPerSecond: number;
  /** One way between two hosts, from the sending card to the receiving one, seconds. @default 20 µs */
  readonly latencySeconds: number;
  /** The same between two workers of one host. @default 15 µs */
  readonly localLatencySeconds: number;
  /** What the memory of one host copies through sockets for all of its workers together, bytes/s. @default 40e9 */
  readonly busBytesPerSecond: number;
  /**
   * Whether the bytes between two workers of one host are copied through a socket, or read where they lie: then a frame
   * carries its header alone. @default copied
   */
  readonly localPayload: 'copied' | 'mapped';
  readonly costs: ThreadCosts;
}

/** What a comm thread is busy with, seconds. */
export interface ThreadCosts {
  /** Waking up when something comes while it has nothing to do: the scheduler, and a turn of the event loop. */
  readonly wakeSeconds: number;
  /** Each frame that it sends, and each that it receives: header, system calls, WebSocket, the state machine. */
  readonly frameSeconds: number;
  /** Each byte that it sends, and each that it receives: the kernel's copy, the checksum, the copy into place. */
  readonly byteSeconds: number;
  /** Each byte of the result of adding two partials; likewise of copying new weights. */
  readonly sumByteSeconds: number;
  /** Each byte of parameters that the optimizer updates. */
  readonly applyByteSeconds: number;
}

/** 1448 bytes of a TCP segment in 1538 on an Ethernet of 1500-byte packets. */
export const packetShare = 1448 / 1538;

/** 100 Gbit/s. */
const cardBytesPerSecond = 12.5e9 * packetShare;

/** The kernels' rates are measured: 64 MiB added in 3.3 ms, Adam over 64 MiB in 20.5 ms, on one core. */
export const defaultCosts: ThreadCosts = {
  wakeSeconds: 30e-6,
  frameSeconds: 5e-6,
  byteSeconds: 0.25e-9,
  sumByteSeconds: 3.3e-3 / 2 ** 26,
  applyByteSeconds: 20.5e-3 / 2 ** 26,
};

export const defaultNetwork: Network = {
  workersPerHost: 8,
  coresPerHost: 8,
  cardBytesPerSecond,
  latencySeconds: 20e-6,
  localLatencySeconds: 5e-6,
  busBytesPerSecond: 40e9,
  localPayload: 'copied',
  costs: defaultCosts,
};
