/**
 * Where the time of a step goes, in the worker that tells of it. `data` is the wait for rows, `compute` the gradients with
 * their way into shared memory, `network` the time from the last ready bucket until all results are here, `optimizer` the
 * update of the weights; `waiting` is the rest: threads that wake one another, and messages.
 */
import { networkIndex, optimizerIndex, type CommTimes } from './comm/comm-times.js';

/** The compilation of what runs, and the first pages of memory, are not what a step takes. */
const untimedSteps = 5;

export class StepTimes {
  readonly #comm: CommTimes;
  #commBefore: readonly [number, number] = [0, 0];
  #numSteps = 0;
  #data = 0;
  #compute = 0;
  #total = 0;

  constructor(comm: CommTimes) {
    this.#comm = comm;
  }

  /** A step that was begun, had its rows, had its gradients, and was committed at these times, in milliseconds. */
  add(begun: number, read: number, computed: number, committed: number): void {
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

  #commNow(): readonly [number, number] {
    return [this.#comm[networkIndex] ?? 0, this.#comm[optimizerIndex] ?? 0];
  }
}
