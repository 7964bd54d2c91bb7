/**
 * Tells the coordinator of committed steps, several at a time where they are quick. One worker of a generation tells, and every
 * worker keeps the last ones: who told before may have died with some, so that the teller first tells again what the coordinator
 * does not know. It is the first of those that took the last step, so that all of this comes on one connection: of two, one
 * overtakes the other. The coordinator takes each step once.
 */
import type { FromWorker, Generation, StepRecord } from '../src/protocol/messages.js';
import { StepRecords } from './step-records.js';
import type { StepTimes } from './step-times.js';

const intervalMs = 100;
/** In one message. */
const maxRecords = 1000;
/** Steps that a coordinator may be away for, and lose its teller meanwhile, without a gap in what it is told. */
const numKept = 20_000;

/** The rank that tells of the steps of a generation: where it begins at a checkpoint, or at the first weights, rank 0. */
export function tellerOf({ workers, step }: Pick<Generation, 'workers' | 'step'>): number {
  return workers.find((worker) => worker.step === step)?.rank ?? 0;
}

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

  /** A generation begins after `numSteps` steps, of which the coordinator knows `told`. */
  enter(numSteps: number, { isTeller, told }: { readonly isTeller: boolean; readonly told: number }): void {
    // Where all state was lost, steps are taken again.
    this.#records.cutAfter(numSteps);
    this.#numUntold = this.#records.numAfter(told);
    this.#isTeller = isTeller;
    this.flush();
  }

  add(record: StepRecord): void {
    if (record.step <= this.#records.lastStep) return;
    this.#records.add(record);
    this.#numUntold++;
    if (this.#now() - this.#sentMs >= intervalMs || this.#numUntold >= maxRecords) this.flush();
  }

  /** Who leaves tells what it has, whoever tells otherwise: the others may leave too, or die, before that one has. */
  leave(): void {
    this.#isTeller = true;
    this.flush();
  }

  flush(): void {
    if (!this.#isTeller || this.#numUntold === 0) return;
    const untold = this.#records.last(this.#numUntold);
    this.#numUntold = 0;
    for (let first = 0; first < untold.length; first += maxRecords) {
      const records = untold.slice(first, first + maxRecords);
      this.#send({ type: 'progress', records, stepTime: this.#times.means() });
    }
    this.#sentMs = this.#now();
  }
}
