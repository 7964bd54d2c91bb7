/**
 * Seeded randomness for code that draws from `Math.random`: tfjs's initializers, dropout and noise layers, and the
 * user's own. While a scope is open, `Math.random` is a stream that is a function of the scope's key alone, never of
 * what ran before or of the number of workers. Why so: docs/decisions/0003-seeded-randomness.md.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { philox4x32, type Words2, type Words4 } from './philox.js';

/** What a stream is a function of. Equal keys give equal streams; keys that differ in any field give unrelated ones. */
export type RandomKey =
  | {
      readonly purpose: 'step';
      readonly seed: number;
      readonly step: number;
      readonly slot: number;
      /** Position in the slot. @default 0 */
      readonly microBatch?: number;
    }
  /** Of rows that the model makes, to train on. */
  | { readonly purpose: 'rollout'; readonly seed: number; readonly step: number; readonly slot: number }
  /** Of rows that it makes for validation after a step, from that row on. */
  | { readonly purpose: 'trial'; readonly seed: number; readonly step: number; readonly row: number }
  | { readonly purpose: 'augmentation'; readonly seed: number; readonly epoch: number; readonly row: number }
  | { readonly purpose: 'model'; readonly seed: number }
  | { readonly purpose: 'evaluation'; readonly seed: number }
  | { readonly purpose: 'generation'; readonly seed: number };

const purposeWord = {
  step: 0,
  model: 1,
  evaluation: 2,
  augmentation: 4,
  rollout: 5,
  trial: 6,
  generation: 7,
} as const satisfies Record<RandomKey['purpose'], number>;

/** The stream of a key: each call gives the next number in [0, 1), with 53 random bits as `Math.random` has. */
export function randomStream(key: RandomKey): () => number {
  const philoxKey = keyOf(key, purposeWord[key.purpose]);
  const [time, place] = coordinatesOf(key);
  let numDrawn = 0;
  let block: Words4 = [0, 0, 0, 0];
  return () => {
    const second = numDrawn % 2 === 1;
    if (!second) {
      const counter: Words4 = [(numDrawn / 2) >>> 0, place >>> 0, time >>> 0, Math.floor(time / 2 ** 32)];
      block = philox4x32(counter, philoxKey);
    }
    numDrawn++;
    return second ? toUnitInterval(block[2], block[3]) : toUnitInterval(block[0], block[1]);
  };
}

/** When and where a stream is drawn from, within its purpose. */
function coordinatesOf(key: RandomKey): readonly [number, number] {
  if (key.purpose === 'step' || key.purpose === 'rollout') return [key.step, key.slot];
  if (key.purpose === 'trial') return [key.step, key.row];
  return key.purpose === 'augmentation' ? [key.epoch, key.row] : [0, 0];
}

/** Purposes are below 256; what is left of the word tells micro-batches apart. */
function keyOf(key: RandomKey, purpose: number): Words2 {
  const microBatch = key.purpose === 'step' ? (key.microBatch ?? 0) : 0;
  return [key.seed >>> 0, (purpose + 256 * microBatch) >>> 0];
}

/** Word of the Philox key that no stream's purpose has. */
const statelessWord = 3;

/**
 * The seed of the pass's random op number `index`: two words, as TensorFlow's stateless ops take them. A function of the
 * arguments alone, and unrelated to the key's stream.
 */
export function statelessSeed(key: Extract<RandomKey, { purpose: 'step' }>, index: number): Int32Array {
  const counter: Words4 = [index >>> 0, key.slot >>> 0, key.step >>> 0, Math.floor(key.step / 2 ** 32)];
  return Int32Array.from(philox4x32(counter, keyOf(key, statelessWord)).slice(0, 2));
}

function toUnitInterval(high: number, low: number): number {
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

/**
 * Runs `body` with `Math.random` replaced by the key's stream; restored when it returns or throws.
 *
 * @param onDraw is told of each number drawn
 */
export function withSeededRandom<T>(key: RandomKey, body: () => T, onDraw?: () => void): T {
  const outer = Math.random;
  const stream = randomStream(key);
  Math.random = onDraw ? () => (onDraw(), stream()) : stream;
  try {
    return body();
  } finally {
    Math.random = outer;
  }
}

const streams = new AsyncLocalStorage<() => number>();
let hostRandom = Math.random;
let numOpenScopes = 0;

/**
 * As `withSeededRandom`, until the promise of `body` settles. Only `body` and what it awaits draw from the stream: other
 * tasks of the process that run meanwhile keep the host's `Math.random`, or they would shift the stream by chance.
 */
export async function withSeededRandomAsync<T>(key: RandomKey, body: () => T | Promise<T>): Promise<T> {
  if (numOpenScopes++ === 0) {
    hostRandom = Math.random;
    Math.random = () => (streams.getStore() ?? hostRandom)();
  }
  try {
    return await streams.run(randomStream(key), body);
  } finally {
    if (--numOpenScopes === 0) Math.random = hostRandom;
  }
}
