/** Tells the coordinator of committed steps, several at a time where they are quick. */
import type { FromWorker, StepRecord } from '../src/protocol/messages.js';

const intervalMs = 100;
const maxRecords = 1000;

export class ProgressReport {
  readonly #send: (message: FromWorker) => void;
  #records: StepRecord[] = [];
  #sentMs = 0;

  constructor(send: (message: FromWorker) => void) {
    this.#send = send;
  }

  add(record: StepRecord): void {
    this.#records.push(record);
    if (performance.now() - this.#sentMs >= intervalMs || this.#records.length >= maxRecords) this.flush();
  }

  flush(): void {
    if (this.#records.length === 0) return;
    this.#send({ type: 'progress', records: this.#records });
    this.#records = [];
    this.#sentMs = performance.now();
  }
}
