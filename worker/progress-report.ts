/**
 * Tells the coordinator of committed steps, several at a time where they are quick. Every worker keeps the last ones, and
 * rank 0 tells: a new rank 0 tells again what it has, since the one before may have died with it. The coordinator takes each
 * step once.
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

  /** Steps committed when a generation begins, and whether this worker is its rank 0. */
  enter(numSteps: number, isTeller: boolean): void {
    const isNew = isTeller && !this.#isTeller;
    this.#isTeller = isTeller;
    // Where all state was lost, steps are taken again.
    this.#records = this.#records.filter(({ step }) => step <= numSteps);
    this.#numUntold = isNew ? this.#records.length : Math.min(this.#numUntold, this.#records.length);
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
