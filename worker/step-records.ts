/** The last records of committed steps, oldest first, in memory that is taken once: a worker may run for months. */
import type { StepRecord } from '../src/protocol/messages.js';

export class StepRecords {
  readonly #capacity: number;
  /** [capacity, 2 + metrics]: step, loss, metrics; made with the first record, which says how many metrics there are. */
  #numbers = new Float64Array(0);
  #width = 0;
  /** Records that were added, and not cut off again: the next one's place, before it wraps around. */
  #numAdded = 0;
  #length = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** 0 where there is none. */
  get lastStep(): number {
    return this.#length === 0 ? 0 : this.#stepAt(this.#length - 1);
  }

  /** In the place of the oldest, where there are too many. */
  add({ step, loss, metrics }: StepRecord): void {
    if (this.#width === 0) {
      this.#width = 2 + metrics.length;
      this.#numbers = new Float64Array(this.#capacity * this.#width);
    }
    this.#numbers.set([step, loss, ...metrics], (this.#numAdded % this.#capacity) * this.#width);
    this.#numAdded++;
    this.#length = Math.min(this.#length + 1, this.#capacity);
  }

  /** Forgets those of later steps. */
  cutAfter(step: number): void {
    const numLater = this.numAfter(step);
    this.#numAdded -= numLater;
    this.#length -= numLater;
  }

  /** How many are of later steps. */
  numAfter(step: number): number {
    let count = 0;
    while (count < this.#length && this.#stepAt(this.#length - 1 - count) > step) count++;
    return count;
  }

  last(count: number): StepRecord[] {
    return Array.from({ length: Math.min(count, this.#length) }, (_, i) =>
      this.#at(this.#length - Math.min(count, this.#length) + i),
    );
  }

  #at(position: number): StepRecord {
    const offset = this.#offsetOf(position);
    const [step = 0, loss = NaN, ...metrics] = this.#numbers.subarray(offset, offset + this.#width);
    return { step, loss, metrics };
  }

  #stepAt(position: number): number {
    return this.#numbers[this.#offsetOf(position)] ?? 0;
  }

  /** @param position from the oldest on */
  #offsetOf(position: number): number {
    return ((this.#numAdded - this.#length + position) % this.#capacity) * this.#width;
  }
}
