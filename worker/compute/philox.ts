/**
 * Philox4x32-10, a counter-based random generator: a keyed bijection of 128-bit counters. A number of the stream follows
 * from the key and its position alone, so nothing has to be carried from step to step or from worker to worker.
 * Integer arithmetic only: the same bits on every machine.
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
 */

/** Four unsigned 32-bit words, least significant first. */
export type Words4 = readonly [number, number, number, number];
export type Words2 = readonly [number, number];

const numRounds = 10;
const multiplier0 = 0xd251_1f53;
const multiplier1 = 0xcd9e_8d57;
const weyl0 = 0x9e37_79b9;
const weyl1 = 0xbb67_ae85;

/** The random block of this key at this counter. */
export function philox4x32(counter: Words4, key: Words2): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < numRounds; round++) {
    const high0 = multiplyHigh(multiplier0, c0);
    const high1 = multiplyHigh(multiplier1, c2);
    const low0 = Math.imul(multiplier0, c0) >>> 0;
    const low1 = Math.imul(multiplier1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + weyl0) >>> 0;
    k1 = (k1 + weyl1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Upper 32 bits of the 64-bit product. Every intermediate stays below 2^32, so doubles hold it exactly. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (aLow * bHigh + (middle & 0xffff)) >>> 16;
  return (aHigh * bHigh + (middle >>> 16) + carry) >>> 0;
}
