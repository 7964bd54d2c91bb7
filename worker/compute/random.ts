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
  | { readonly purpose: 'model'; readonly seed: number }
  | { readonly purpose: 'evaluation'; readonly seed: number }
  | { readonly purpose: 'generation'; readonly seed: number };

const purposeWord = { step: 0, model: 1, evaluation: 2, generation: 4 } as const satisfies Record<
  RandomKey['purpose'],
  number
>;

/** The stream of a key: each call gives the next number in [0, 1), with 53 random bits as `Math.random` has. */
export function randomStream(key: RandomKey): () => number {
  const philoxKey = keyOf(key, purposeWord[key.purpose]);
  const step = key.purpose === 'step' ? key.step : 0;
  const slot = key.purpose === 'step' ? key.slot : 0;
  let numDrawn = 0;
  let block: Words4 = [0, 0, 0, 0];
  return () => {
    const second = numDrawn % 2 === 1;
    if (!second) {
      const counter: Words4 = [(numDrawn / 2) >>> 0, slot >>> 0, step >>> 0, Math.floor(step / 2 ** 32)];
      block = philox4x32(counter, philoxKey);
    }
    numDrawn++;
    return second ? toUnitInterval(block[2], block[3]) : toUnitInterval(block[0], block[1]);
  };
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
