/**
 * What this worker does to itself because the run's --chaos says so. It is done right after a commit, in the comm thread, so
 * that it comes after that very step each time; and it is told before, as there may be no after.
 */
import type { WorkerFault } from '../../src/chaos/faults.js';
import type { FromWorker } from '../../src/protocol/messages.js';
import type { Impediment } from '../../transport/impediment.js';

export interface InjectedFaultsOptions {
  readonly impediment: Impediment;
  /** To the coordinator. */
  readonly send: (message: FromWorker) => void;
  /** Of this process. */
  readonly signal: (name: 'SIGKILL' | 'SIGSTOP') => void;
}

export class InjectedFaults {
  readonly #options: InjectedFaultsOptions;
  #pending: readonly WorkerFault[] = [];

  constructor(options: InjectedFaultsOptions) {
    this.#options = options;
  }

  /** Those that are still to come in the run, whoever's they are. */
  expect(faults: readonly WorkerFault[]): void {
    this.#pending = faults;
  }

  /** This worker has the rank, and has committed so many steps. */
  onCommit(rank: number, numSteps: number): void {
    if (this.#pending.length === 0) return;
    const due = this.#pending.filter((fault) => fault.rank === rank && fault.step <= numSteps);
    this.#pending = this.#pending.filter((fault) => !due.includes(fault));
    for (const fault of due) {
      this.#options.send({ type: 'injected', fault, step: numSteps });
      this.#inject(fault);
    }
  }

  #inject(fault: WorkerFault): void {
    const { impediment, signal } = this.#options;
    // Not before the message that tells of it has left.
    impediment.hold(() => {
      if (fault.kind === 'kill') signal('SIGKILL');
      else if (fault.kind === 'stop') signal('SIGSTOP');
      else if (fault.kind === 'partition') impediment.cut();
      else impediment.delay(fault.delayMs);
    });
  }
}
