/** Which of a run's faults this worker is to do to itself, and when. */
import type { WorkerFault } from '../src/chaos/faults.js';

export class DueFaults {
  #pending: readonly WorkerFault[];

  /** @param faults that are still to come in the run, whoever's they are; @param rank in this generation */
  constructor(faults: readonly WorkerFault[], rank: number) {
    this.#pending = faults.filter((fault) => fault.rank === rank);
  }

  /** Those that come after so many steps, once. One that had no step of its own comes after the next. */
  after(numSteps: number): readonly WorkerFault[] {
    if (this.#pending.length === 0) return this.#pending;
    const due = this.#pending.filter(({ step }) => step <= numSteps);
    this.#pending = this.#pending.filter((fault) => !due.includes(fault));
    return due;
  }
}
