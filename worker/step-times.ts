/**
 * Where the time of a step goes, in the worker that tells of it. `data` is the wait for rows, `compute` the gradients with
 * their way into shared memory, `network` the time from the last ready bucket until all results are here, `optimizer` the
 * update of the weights; `waiting` is the rest: threads that wake one another, and messages.
 */
import type { StepRing } from '../src/flight/step-ring.js';
import {
  awaitedIndex,
  awaitedRankIndex,
  networkIndex,
  nobody,
  optimizerIndex,
  type CommTimes,
} from './comm/comm-times.js';

/** The compilation of what runs, and the first pages of memory, are not what a step takes. */
const untimedSteps = 5;

const originMs = performance.timeOrigin;

interface StepKey {
  readonly step: number;
  readonly generation: number;
}

export class StepTimes {
  readonly #comm: CommTimes;
  readonly #ring: StepRing;
  /** Of the comm thread, after the last step. */
  readonly #commLast: Float64Array;
  #commBefore: readonly [number, number] = [0, 0];
  #numSteps = 0;
  #data = 0;
  #compute = 0;
  #total = 0;

  /** @param ring gets each step, for the flight recorder */
  constructor(comm: CommTimes, ring: StepRing) {
    this.#comm = comm;
    this.#ring = ring;
    this.#commLast = new Float64Array(comm.length);
  }

  /** A step that was begun, had its rows, had its gradients, and was committed at these times, in milliseconds. */
  add(step: StepKey, begun: number, read: number, computed: number, committed: number): void {
    this.#record(step, begun, read, computed, committed);
    if (++this.#numSteps <= untimedSteps) {
      this.#commBefore = this.#commNow();
      return;
    }
    this.#data += read - begun;
    this.#compute += computed - read;
    this.#total += committed - begun;
  }

  /** Milliseconds per step; null before there are any. */
  means(): Readonly<Record<string, number>> | null {
    const count = this.#numSteps - untimedSteps;
    if (count <= 0) return null;
    const now = this.#commNow();
    const network = now[0] - this.#commBefore[0];
    const optimizer = now[1] - this.#commBefore[1];
    const waiting = Math.max(0, this.#total - this.#data - this.#compute - network - optimizer);
    const sums = { data: this.#data, compute: this.#compute, network, optimizer, waiting };
    return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, Math.round((sum / count) * 1e4) / 1e4]));
  }

  #record({ step, generation }: StepKey, begun: number, read: number, computed: number, committed: number): void {
    const [data, compute] = [read - begun, computed - read];
    const network = this.#sinceLast(networkIndex);
    const optimizer = this.#sinceLast(optimizerIndex);
    const awaited = this.#sinceLast(awaitedIndex);
    const awaitedRank = this.#comm[awaitedRankIndex] ?? nobody;
    this.#commLast.set(this.#comm);
    const waiting = Math.max(0, committed - begun - data - compute - network - optimizer);
    const begunMs = originMs + begun;
    this.#ring.add([step, generation, begunMs, data, compute, network, optimizer, waiting, awaited, awaitedRank]);
  }

  #sinceLast(index: number): number {
    return (this.#comm[index] ?? 0) - (this.#commLast[index] ?? 0);
  }

  #commNow(): readonly [number, number] {
    return [this.#comm[networkIndex] ?? 0, this.#comm[optimizerIndex] ?? 0];
  }
}
