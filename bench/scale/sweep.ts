/** Points of the curves: one all-reduce for each number of workers and size. */
import { Collective } from './collective.js';
import { predictFlat } from './formula.js';
import { memoryOf, type MemoryUse } from './memory.js';
import type { Network } from './network.js';
import { normalNumbers } from './random.js';
import { simulate } from './simulation.js';

export interface Setting {
  readonly network: Network;
  readonly numWorkers: number;
  readonly numBytes: number;
  readonly bucketBytes: number;
}

export interface Point {
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

export function measurePoint({ network, numWorkers, numBytes, bucketBytes }: Setting): Point {
  const collective = new Collective({ numWorkers, workersPerHost: network.workersPerHost, numBytes, bucketBytes });
  const result = simulate({ collective, network });
  const { seconds } = predictFlat(network, { numWorkers, numBytes, bucketBytes });
  return {
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
