/** Tells the coordinator of committed steps, several at a time where they are quick. */
import type { FromWorker, StepRecord } from '../src/protocol/messages.js';
import type { StepTimes } from './step-times.js';

const intervalMs = 100;
const maxRecords = 1000;

export class ProgressReport {
  readonly #send: (message: FromWorker) => void;
  readonly #times: StepTimes;
  #records: StepRecord[] = [];
  #sentMs = 0;

  constructor(send: (message: FromWorker) => void, times: StepTimes) {
    this.#times = times;
    this.#send = send;
  }

  add(record: StepRecord): void {
    this.#records.push(record);
    if (performance.now() - this.#sentMs >= intervalMs || this.#records.length >= maxRecords) this.flush();
  }

  flush(): void {
    if (this.#records.length === 0) return;
    this.#send({ type: 'progress', records: this.#records, stepTime: this.#times.means() });
    this.#records = [];
    this.#sentMs = performance.now();
  }
}
