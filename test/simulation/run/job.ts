/**
 * What a simulated run computes: a state of a few floats, and gradients that are a function of rows and weights, whose sum
 * depends on the order of additions. The state after each step is known beforehand, by the naive sum and the plain optimizer.
 */
import { reductionTree } from '../../../src/collective/tree.js';
import type { Sampler } from '../../../src/job/sampler.js';
import { Schedule } from '../../../src/job/schedule.js';
import { sgd } from '../../../src/kernels/reference.js';
import type { SlotEvaluation } from '../../../src/protocol/messages.js';
import { naiveSum } from '../oracle.js';

export interface JobShape {
  readonly slots: number;
  /** Of the state; a multiple of 16. */
  readonly elements: number;
  readonly steps: number;
  readonly stepsPerEpoch: number;
  /** 0: at the end of an epoch only. */
  readonly checkpointEverySteps: number;
}

export interface State {
  readonly parameters: Float32Array;
  readonly moments: Float32Array;
}

const rowsPerSlot = 2;
const coefficients = { learningRate: 0.01, momentum: 0.9, nesterov: false };

export class Job {
  readonly shape: JobShape;
  readonly schedule: Schedule;
  /** By the number of steps committed. */
  readonly #states: State[];
  readonly #sampler: Sampler;
  /** What the rows of a slot at a step add to its gradient, whatever the weights. */
  readonly #ofRows = new Map<number, Float32Array>();

  private constructor(shape: JobShape) {
    const { slots, elements, steps, stepsPerEpoch, checkpointEverySteps } = shape;
    this.shape = shape;
    const batchSize = slots * rowsPerSlot;
    const config = { rows: stepsPerEpoch * batchSize + 1, batchSize, slots, seed: 7, shuffle: true };
    const ends = { epochs: Math.ceil(steps / stepsPerEpoch), steps };
    const checkpoints = checkpointEverySteps > 0 ? { checkpointEverySteps } : {};
    this.schedule = new Schedule({ ...config, ...ends, ...checkpoints, lastBatch: 'drop' });
    this.#sampler = this.schedule.sampler;
    this.#states = [firstState(elements)];
    for (let step = 0; step < steps; step++) this.#states.push(this.#next(step, this.stateAfter(step)));
  }

  /** Made once for all runs of its shape. */
  static of(shape: JobShape): Job {
    const key = Object.values(shape).join();
    const job = jobs.get(key) ?? new Job(shape);
    jobs.set(key, job);
    return job;
  }

  stateAfter(numSteps: number): State {
    const state = this.#states[numSteps];
    if (!state) throw new Error(`The job has no step ${numSteps}.`);
    return state;
  }

  /** The partial of one slot at a step, counted from 0. */
  gradient(step: number, slot: number, parameters: Float32Array, out: Float32Array): void {
    const ofRows = this.#sumOfRows(step, slot);
    for (let i = 0; i < out.length; i++) {
      out[i] = Math.fround((ofRows[i] ?? NaN) + Math.fround((parameters[i] ?? NaN) * 0.1));
    }
  }

  #sumOfRows(step: number, slot: number): Float32Array {
    const key = step * this.shape.slots + slot;
    const known = this.#ofRows.get(key);
    if (known) return known;
    const sums = new Float32Array(this.shape.elements);
    for (const row of this.#sampler.indices(step, slot)) {
      for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? NaN) + valueOf(row, i);
    }
    this.#ofRows.set(key, sums);
    return sums;
  }

  evaluation(slot: number, parameters: Float32Array): SlotEvaluation {
    return { slot, rows: 1, loss: lossOf(parameters) * (slot + 1), metrics: [] };
  }

  #next(step: number, before: State): State {
    const { slots, elements } = this.shape;
    const partials = Array.from({ length: slots }, (_, slot) => {
      const partial = new Float32Array(elements);
      this.gradient(step, slot, before.parameters, partial);
      return partial;
    });
    const tree = reductionTree(slots);
    const sum = Float32Array.from({ length: elements }, (_, i) => naiveSum(tree, (slot) => partials[slot]?.[i] ?? NaN));
    const after = { parameters: before.parameters.slice(), moments: before.moments.slice() };
    applySum(after, sum, 0);
    return after;
  }
}

const jobs = new Map<string, Job>();

export function firstState(elements: number): State {
  const parameters = Float32Array.from({ length: elements }, (_, i) => valueOf(i, 1));
  return { parameters, moments: new Float32Array(elements) };
}

/** The optimizer, on the elements that `sum` covers. */
export function applySum({ parameters, moments }: State, gradient: Float32Array, offset: number): void {
  const end = offset + gradient.length;
  const moment1 = moments.subarray(offset, end);
  sgd({ parameters: parameters.subarray(offset, end), gradient, moment1 }, coefficients);
}

/** What stands for the loss of the last step, which is part of the state. */
export function lossOf(parameters: Float32Array): number {
  return parameters[0] ?? NaN;
}

/** Of the moments, those in these ranges. */
export function isSameState(
  a: State,
  b: State,
  ranges: readonly { readonly offset: number; readonly elements: number }[],
): boolean {
  const isSameIn = ({ offset, elements }: { offset: number; elements: number }): boolean =>
    isSame(a.moments.subarray(offset, offset + elements), b.moments.subarray(offset, offset + elements));
  return isSame(a.parameters, b.parameters) && ranges.every(isSameIn);
}

function isSame(a: Float32Array, b: Float32Array): boolean {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return a.length === b.length;
}

/** FNV-1a of the bits. */
export function hashOf(parameters: Float32Array): string {
  let hash = 0x811c_9dc5;
  for (const word of new Uint32Array(parameters.buffer, parameters.byteOffset, parameters.length)) {
    hash = Math.imul(hash ^ word, 0x0100_0193);
  }
  return (hash >>> 0).toString(16);
}

/** Of very different sizes, so that sums round. */
function valueOf(row: number, i: number): number {
  const mixed = Math.imul(row + 1, 0x9e37_79b1) ^ Math.imul(i + 1, 0x85eb_ca6b);
  return Math.fround(((mixed >>> 0) % 100_003) * 10 ** ((((mixed >>> 20) + row) % 7) - 5) - 1);
}
