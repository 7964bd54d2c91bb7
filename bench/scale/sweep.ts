/** Points of the curves: one all-reduce for each number of workers and size. */
import { Collective } from './collective.js';
import { predict } from './formula.js';
import { memoryOf, type MemoryUse } from './memory.js';
import type { Network } from './network.js';
import { normalNumbers } from './random.js';
import { simulate } from './simulation.js';

/**
 * Each is a change of the one before: flat; over two levels; what passes between workers of one host is read where it lies,
 * instead of copied through sockets; the optimizer's moments, and its work, are shared out.
 */
export const ways = ['flat', 'two-level', 'mapped', 'sharded'] as const;
export type Way = (typeof ways)[number];

export interface Setting {
  readonly network: Network;
  readonly way: Way;
  readonly numWorkers: number;
  /** Of gradients. */
  readonly numBytes: number;
  readonly bucketBytes: number;
}

export interface Point {
  readonly way: Way;
  readonly workers: number;
  readonly bytes: number;
  readonly bucketBytes: number;
  readonly seconds: number;
  readonly formulaSeconds: number;
  /** Payload that the card of one host sends; it receives as much. */
  readonly cardBytes: number;
  readonly cardBusy: number;
  readonly threadBusy: number;
  /** Sent by one worker, which receives as many. */
  readonly frames: number;
  /** Payload of most frames. */
  readonly chunkBytes: number;
  readonly memory: MemoryUse;
}

export function measurePoint({ network: base, way, numWorkers, numBytes, bucketBytes }: Setting): Point {
  const levels = way === 'flat' ? 'flat' : 'two-level';
  const network: Network = { ...base, localPayload: way === 'mapped' || way === 'sharded' ? 'mapped' : 'copied' };
  const { workersPerHost } = network;
  const isSharded = way === 'sharded';
  const collective = new Collective({ levels, isSharded, numWorkers, workersPerHost, numBytes, bucketBytes });
  const result = simulate({ collective, network });
  const { seconds } = predict(network, { levels, isSharded, numWorkers, numBytes, bucketBytes });
  return {
    way,
    workers: numWorkers,
    bytes: numBytes,
    bucketBytes,
    seconds: result.stepSeconds,
    formulaSeconds: seconds,
    cardBytes: result.cardBytesOut,
    cardBusy: result.cardBusy,
    threadBusy: result.threadBusy,
    frames: result.framesSent,
    chunkBytes: Math.min(numBytes, bucketBytes) / numWorkers,
    memory: memoryOf(collective),
  };
}

/** A change that is not built, by the formula alone. */
export interface Change {
  readonly workers: number;
  readonly bytes: number;
  readonly bucketBytes: number;
  readonly localPayload: Network['localPayload'];
  readonly levels: 'two-level' | 'batched';
  readonly seconds: number;
  readonly frames: number;
}

export function predictChange(
  setting: Omit<Setting, 'way'>,
  { levels, localPayload }: Pick<Change, 'levels' | 'localPayload'>,
): Change {
  const { numWorkers: workers, numBytes: bytes, bucketBytes } = setting;
  const { seconds, numFrames } = predict({ ...setting.network, localPayload }, { ...setting, levels });
  return { workers, bytes, bucketBytes, localPayload, levels, seconds, frames: numFrames };
}

/** The slowest of `numWorkers` compute times over the median of one: its mean over steps, by trial. */
export function slowestOf(numWorkers: number, jitter: number, seed = 0): number {
  const normal = normalNumbers(seed);
  const numSteps = 400;
  let sum = 0;
  for (let step = 0; step < numSteps; step++) {
    let slowest = -Infinity;
    for (let worker = 0; worker < numWorkers; worker++) slowest = Math.max(slowest, normal());
    sum += Math.exp(jitter * slowest);
  }
  return sum / numSteps;
}
