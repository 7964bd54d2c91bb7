/**
 * Tells the coordinator of committed steps, several at a time where they are quick. Rank 0 tells, and every worker keeps the
 * last ones: who told before may have died with some, or be another rank now, so that when a generation begins the first of
 * those that were there tells them again. The coordinator takes each step once.
 */
import type { FromWorker, StepRecord } from '../src/protocol/messages.js';
import { StepRecords } from './step-records.js';
import type { StepTimes } from './step-times.js';

const intervalMs = 100;
/** In one message. */
const maxRecords = 1000;
/** Steps that a coordinator may be away for, and lose its teller meanwhile, without a gap in what it is told. */
const numKept = 20_000;

export class ProgressReport {
  readonly #send: (message: FromWorker) => void;
  readonly #times: StepTimes;
  readonly #now: () => number;
  readonly #records = new StepRecords(numKept);
  /** How many of them, from the last, have not been told. */
  #numUntold = 0;
  #isTeller = false;
  #sentMs = 0;

  /** @param now in milliseconds */
  constructor(send: (message: FromWorker) => void, times: StepTimes, now = () => performance.now()) {
    this.#times = times;
    this.#now = now;
    this.#send = send;
  }

  /**
   * A generation begins after `numSteps` steps, of which the coordinator knows `told`; this worker is its rank 0, or the first
   * of those that took the last one.
   */
  enter(
    numSteps: number,
    { isTeller, isWitness, told }: { readonly isTeller: boolean; readonly isWitness: boolean; readonly told: number },
  ): void {
    // Where all state was lost, steps are taken again.
    this.#records.cutAfter(numSteps);
    this.#numUntold = this.#records.numAfter(told);
    this.#isTeller = isWitness;
    this.flush();
    this.#isTeller = isTeller;
  }

  add(record: StepRecord): void {
    if (record.step <= this.#records.lastStep) return;
    this.#records.add(record);
    this.#numUntold++;
    if (this.#now() - this.#sentMs >= intervalMs || this.#numUntold >= maxRecords) this.flush();
  }

  flush(): void {
    const untold = this.#records.last(this.#numUntold);
    this.#numUntold = 0;
    if (!this.#isTeller || untold.length === 0) return;
    for (let first = 0; first < untold.length; first += maxRecords) {
      const records = untold.slice(first, first + maxRecords);
      this.#send({ type: 'progress', records, stepTime: this.#times.means() });
    }
    this.#sentMs = this.#now();
  }
}
