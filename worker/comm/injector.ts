/** Does to this process what the run's --chaos says, having told of it, as there may be no after. */
import type { WorkerFault } from '../../src/chaos/faults.js';
import type { FromWorker } from '../../src/protocol/messages.js';
import type { Impediment } from '../../transport/impediment.js';

export interface InjectorOptions {
  readonly impediment: Impediment;
  /** To the coordinator; `onHeard` is called when it has that in its files. */
  readonly send: (message: FromWorker, onHeard: () => void) => void;
  /** To this process. */
  readonly signal: (name: 'SIGKILL' | 'SIGSTOP') => void;
}

export class Injector {
  readonly #options: InjectorOptions;

  constructor(options: InjectorOptions) {
    this.#options = options;
  }

  /** @param onDone called where there is an after */
  inject(fault: WorkerFault, numSteps: number, onDone: () => void): void {
    const { impediment, send, signal } = this.#options;
    // Not before a coordinator has it, which may be away: else it would come again after the coordinator's return.
    send({ type: 'injected', fault, step: numSteps }, () => {
      if (fault.kind === 'kill') signal('SIGKILL');
      else if (fault.kind === 'stop') signal('SIGSTOP');
      else if (fault.kind === 'partition') impediment.cut();
      else impediment.delay(fault.delayMs);
      onDone();
    });
  }
}
