/** Random data for jobs that are only measured, the same in every process. */

/** Numbers from 0 to 1: mulberry32 (Tommy Ettinger, public domain). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Values from -1 to 1. */
export function randomValues(length: number, seed: number): Float32Array {
  const next = uniform(seed);
  return Float32Array.from({ length }, () => 2 * next() - 1);
}

/** Whole numbers from 0 to `numClasses` - 1. */
export function randomClasses(length: number, numClasses: number, seed: number): Float32Array {
  const next = uniform(seed);
  return Float32Array.from({ length }, () => Math.floor(next() * numClasses));
}
