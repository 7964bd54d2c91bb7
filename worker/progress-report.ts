/**
 * Tells the coordinator of committed steps, several at a time where they are quick. Rank 0 tells, and every worker keeps the
 * last ones: who told before may have died with some, or be another rank now, so that when a generation begins the first of
 * those that were there tells them again. The coordinator takes each step once.
 */
import type { FromWorker, StepRecord } from '../src/protocol/messages.js';
import type { StepTimes } from './step-times.js';

const intervalMs = 100;
const maxRecords = 1000;

export class ProgressReport {
  readonly #send: (message: FromWorker) => void;
  readonly #times: StepTimes;
  /** The last ones, between `maxRecords` and twice as many once there are so many. */
  #records: StepRecord[] = [];
  /** How many of them, from the last, have not been told. */
  #numUntold = 0;
  #isTeller = false;
  #sentMs = 0;

  constructor(send: (message: FromWorker) => void, times: StepTimes) {
    this.#times = times;
    this.#send = send;
  }

  /** A generation begins after `numSteps` steps; this worker is its rank 0, or the first of those that took the last one. */
  enter(numSteps: number, { isTeller, isWitness }: { readonly isTeller: boolean; readonly isWitness: boolean }): void {
    // Where all state was lost, steps are taken again.
    this.#records = this.#records.filter(({ step }) => step <= numSteps);
    if (!this.#isTeller) this.#numUntold = this.#records.length;
    this.#isTeller = isWitness;
    this.flush();
    this.#isTeller = isTeller;
  }

  add(record: StepRecord): void {
    if (record.step <= (this.#records.at(-1)?.step ?? 0)) return;
    this.#records.push(record);
    this.#numUntold++;
    if (this.#records.length >= 2 * maxRecords) this.#records = this.#records.slice(-maxRecords);
    if (performance.now() - this.#sentMs >= intervalMs || this.#numUntold >= maxRecords) this.flush();
  }

  flush(): void {
    const numUntold = Math.min(this.#numUntold, this.#records.length, maxRecords);
    this.#numUntold = 0;
    if (!this.#isTeller || numUntold === 0) return;
    this.#send({ type: 'progress', records: this.#records.slice(-numUntold), stepTime: this.#times.means() });
    this.#sentMs = performance.now();
  }
}
