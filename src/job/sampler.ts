/**
 * Which rows a slot reads at a step: a pure function of (seed, epoch, step, slot), so that any worker can take over any
 * slot at any step. Every kept row is used exactly once per epoch, whatever the slots and whoever holds them.
 *
 * The order of an epoch is a keyed permutation that is evaluated row by row, not an array that is shuffled: an array costs
 * 4 bytes and a cache miss per row, in every worker, at every epoch and after every recovery (400 MB and seconds for 10^8
 * rows); the permutation costs nothing to make and about 0.1 µs per row read. It is an alternating Feistel network on the
 * smallest power of two that holds the rows, cycle-walked into range (Black and Rogaway, CT-RSA 2002), with 12 rounds of
 * MurmurHash3's 32-bit finalizer and round keys from Philox4x32-10 (Salmon et al., SC 2011). Only 32-bit integer
 * arithmetic: the same on every platform.
 */
import { assert, LockstepError } from '../errors.js';

export interface SamplerConfig {
  /** Rows of the training data. */
  readonly rows: number;
  /** Rows per step over all slots together. */
  readonly batchSize: number;
  /** Parts of each batch. */
  readonly slots: number;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** A new order each epoch; `false`: the data's own order. */
  readonly shuffle: boolean;
  /** What becomes of an epoch's last rows when they do not fill a batch. */
  readonly lastBatch: 'drop' | 'keep';
}

/** Hands out the rows of each step and slot. Holds no state but its config. */
export class Sampler {
  /** With 'drop', the rows that do not fill a batch are left out, other ones each epoch. */
  readonly stepsPerEpoch: number;
  readonly #config: SamplerConfig;
  #order: { readonly epoch: number; readonly rowAt: Permutation } | undefined;

  /** @throws LockstepError ERR_JOB_INVALID where no step could give every slot a row */
  constructor(config: SamplerConfig) {
    validate(config);
    const { rows, batchSize, lastBatch } = config;
    this.#config = config;
    this.stepsPerEpoch = lastBatch === 'drop' ? Math.floor(rows / batchSize) : Math.ceil(rows / batchSize);
  }

  /** Epoch, and step within it, of a global step; all counted from 0. */
  position(step: number): { readonly epoch: number; readonly stepInEpoch: number } {
    assert(Number.isSafeInteger(step) && step >= 0, `Step ${step} is not a step`);
    return { epoch: Math.floor(step / this.stepsPerEpoch), stepInEpoch: step % this.stepsPerEpoch };
  }

  /** Rows in the whole batch of that step: `batchSize`, or fewer in the last step of an epoch with 'keep'. */
  batchRows(step: number): number {
    const { rows, batchSize } = this.#config;
    return Math.min(batchSize, rows - this.position(step).stepInEpoch * batchSize);
  }

  /**
   * The rows of one slot at a global step, in the order they are read. Slot `s` of `S` has the positions
   * floor(s·b/S) to floor((s+1)·b/S) of a batch of `b` rows, so slots differ by one row at most. A last batch ('keep') with
   * fewer rows than slots leaves some slots without rows: an empty result, which weighs nothing in the mean.
   */
  indices(step: number, slot: number): Uint32Array {
    const { batchSize, slots } = this.#config;
    assert(Number.isInteger(slot) && slot >= 0 && slot < slots, `Slot ${slot} is not one of the ${slots} slots`);
    const { epoch, stepInEpoch } = this.position(step);
    const batchRows = this.batchRows(step);
    const first = Math.floor((slot * batchRows) / slots);
    const end = Math.floor(((slot + 1) * batchRows) / slots);
    const rowAt = this.#orderOf(epoch);
    const indices = new Uint32Array(end - first);
    for (let i = 0; i < indices.length; i++) indices[i] = rowAt(stepInEpoch * batchSize + first + i);
    return indices;
  }

  #orderOf(epoch: number): Permutation {
    const { rows, seed, shuffle } = this.#config;
    if (!shuffle) return (position) => position;
    if (this.#order?.epoch !== epoch) {
      this.#order = { epoch, rowAt: permutation({ size: rows, seed, use: 'epoch', number: epoch }) };
    }
    return this.#order.rowAt;
  }
}

/** Rows are numbered by unsigned 32-bit integers. */
const maxRows = 2 ** 32;

function validate({ rows, batchSize, slots, seed, lastBatch }: SamplerConfig): void {
  assert(Number.isInteger(batchSize) && batchSize > 0, `A batch of ${batchSize} rows is not possible`);
  assert(Number.isInteger(slots) && slots > 0, `A batch of ${slots} slots is not possible`);
  assert(isUint32(seed), `Seed ${seed} is not an integer from 0 to 2^32 - 1`);
  const invalid = (message: string) =>
    new LockstepError('ERR_JOB_INVALID', message, { details: { rows, batchSize, slots, lastBatch } });
  if (!Number.isInteger(rows) || rows < 1)
    throw invalid(`The training data has no rows (found ${rows}, expected 1 or more).`);
  if (rows > maxRows) throw invalid(`The training data has ${rows} rows; the most that can be numbered is ${maxRows}.`);
  requireRowForEachSlot(batchSize, slots);
  if (rows < batchSize && lastBatch === 'drop') {
    throw invalid(
      `The training data has ${rows} rows, fewer than one batch (batchSize ${batchSize}), so an epoch would have no step. ` +
        `Use a batchSize of ${rows} or less, or lastBatch: 'keep'.`,
    );
  }
}

/** @throws LockstepError ERR_JOB_INVALID where a batch has fewer rows than slots */
export function requireRowForEachSlot(batchSize: number, slots: number): void {
  if (batchSize >= slots) return;
  throw new LockstepError(
    'ERR_JOB_INVALID',
    `batchSize (${batchSize}) is smaller than the number of slots (${slots}), so some slots would never have a row. ` +
      `Use a batchSize of ${slots} or more, or fewer slots.`,
    { details: { batchSize, slots } },
  );
}

/** A bijection of 0 … size - 1 onto itself. */
export type Permutation = (position: number) => number;

export interface PermutationConfig {
  /** 1 to 2^32. */
  readonly size: number;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** Keeps permutations with the same seed and different purposes unrelated. */
  readonly use: 'epoch' | 'split';
  /** Which one of that use: the epoch. 0 to 2^32 - 1. @default 0 */
  readonly number?: number;
}

const uses = { epoch: 0, split: 1 } as const;
const numRounds = 12;
/** Below this, too few permutations can be reached: measured, all orders of 3 to 6 rows are equally frequent from 6 bits on. */
const minBits = 6;

/** A seeded permutation with constant-time access; see the head of this file for what it is made of. */
export function permutation({ size, seed, use, number = 0 }: PermutationConfig): Permutation {
  assert(Number.isInteger(size) && size >= 1 && size <= maxRows, `A permutation of ${size} is not possible`);
  assert(isUint32(seed) && isUint32(number), `Seed ${seed} or number ${number} is not an integer from 0 to 2^32 - 1`);
  const keys = roundKeys(seed, use, number);
  const numBits = Math.max(minBits, 32 - Math.clz32(size - 1));
  const lowBits = numBits >>> 1;
  const lowMask = 2 ** lowBits - 1;
  const highMask = 2 ** (numBits - lowBits) - 1;

  return (position) => {
    let value = position;
    do {
      let low = value & lowMask;
      let high = (value >>> lowBits) & highMask;
      for (let round = 0; round < numRounds; round += 2) {
        high ^= mix32(low ^ (keys[round] ?? 0)) & highMask;
        low ^= mix32(high ^ (keys[round + 1] ?? 0)) & lowMask;
      }
      value = ((high << lowBits) | low) >>> 0;
    } while (value >= size);
    return value;
  };
}

function roundKeys(seed: number, use: PermutationConfig['use'], number: number): Uint32Array {
  const keys = new Uint32Array(numRounds);
  for (let block = 0; block < numRounds / 4; block++) {
    keys.set(philox4x32([block, number, 0, 0], [seed, uses[use]]), block * 4);
  }
  return keys;
}

/** MurmurHash3's 32-bit finalizer (fmix32). */
function mix32(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}

type Words4 = readonly [number, number, number, number];

/** Philox4x32-10, a counter-based generator: 128 random bits for each counter and key, as in Random123. */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [a, b, c, d] = counter;
  let [key0, key1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd251_1f53, a);
    const high1 = multiplyHigh(0xcd9e_8d57, c);
    const low0 = Math.imul(0xd251_1f53, a);
    const low1 = Math.imul(0xcd9e_8d57, c);
    [a, b, c, d] = [(high1 ^ b ^ key0) >>> 0, low1 >>> 0, (high0 ^ d ^ key1) >>> 0, low0 >>> 0];
    key0 = (key0 + 0x9e37_79b9) >>> 0;
    key1 = (key1 + 0xbb67_ae85) >>> 0;
  }
  return [a, b, c, d];
}

/** The upper 32 bits of a 32 × 32 bit product, from two products that a double holds exactly. */
function multiplyHigh(a: number, b: number): number {
  const lower = a * (b & 0xffff);
  const upper = a * (b >>> 16);
  return Math.floor((upper + Math.floor(lower / 0x1_0000)) / 0x1_0000);
}

function isUint32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;
}
