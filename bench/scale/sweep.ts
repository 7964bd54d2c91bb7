/** Points of the curves: one all-reduce for each number of workers and size. */
import { Collective, type CollectiveOptions } from './collective.js';
import { predict } from './formula.js';
import { memoryOf, type MemoryUse } from './memory.js';
import type { Network } from './network.js';
import { normalNumbers } from './random.js';
import { simulate } from './simulation.js';

export interface Setting extends Omit<CollectiveOptions, 'workersPerHost'> {
  readonly network: Network;
}

export interface Point {
  readonly levels: Setting['levels'];
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

export function measurePoint({ network, ...setting }: Setting): Point {
  const { levels, numWorkers, numBytes, bucketBytes } = setting;
  const collective = new Collective({ ...setting, workersPerHost: network.workersPerHost });
  const result = simulate({ collective, network });
  const { seconds } = predict(network, setting);
  return {
    levels,
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
