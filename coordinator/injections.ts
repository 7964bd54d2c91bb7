/** Faults that the run is given on purpose: which of them are still to come, and which came. */
import { formatFault, isWorkerFault, type Fault, type WorkerFault } from '../src/chaos/faults.js';
import { toLockstepError } from '../src/errors.js';
import type { Log } from '../src/log.js';
import type { Injection } from '../src/run-summary.js';

export interface InjectionsOptions {
  readonly faults: readonly Fault[];
  readonly log: Log;
  /** Written down before the fault comes: there may be no after. */
  readonly onInjected: (injection: Injection) => void;
  /** One worker more, from now on. */
  readonly join: () => void;
  /** Of this process. */
  readonly die: () => void;
}

export class Injections {
  readonly #options: InjectionsOptions;
  #pending: readonly Fault[];

  constructor(options: InjectionsOptions) {
    this.#options = options;
    this.#pending = options.faults;
  }

  /** Those that workers do to themselves, still to come. */
  get ofWorkers(): readonly WorkerFault[] {
    return this.#pending.filter(isWorkerFault);
  }

  /** Whether the run's faults are of its links, too. */
  get concernLinks(): boolean {
    return this.#options.faults.some(({ kind }) => kind === 'partition' || kind === 'delay');
  }

  /** A worker is about to do this to itself. */
  onInjected(workerId: string, { fault, step }: { readonly fault: WorkerFault; readonly step: number }): void {
    this.#settle(fault, { fault: formatFault(fault), workerId, step });
  }

  /** The run has committed so many steps. */
  onStep(step: number): void {
    for (const fault of this.#pending) {
      if (isWorkerFault(fault) || fault.step > step) continue;
      this.#settle(fault, { fault: formatFault(fault), workerId: null, step });
      if (fault.kind === 'coordinator') this.#options.die();
      else this.#join();
    }
  }

  #join(): void {
    try {
      this.#options.join();
    } catch (thrown) {
      this.#options.log.warn(`chaos: nobody joins: ${toLockstepError(thrown).message}`);
    }
  }

  /** Once, also where a coordinator has died meanwhile, and is told again. */
  #settle(fault: Fault, injection: Injection): void {
    const text = formatFault(fault);
    if (!this.#pending.some((one) => formatFault(one) === text)) return;
    this.#pending = this.#pending.filter((one) => formatFault(one) !== text);
    const who = injection.workerId === null ? '' : ` to worker ${injection.workerId}`;
    this.#options.log.warn(`chaos: ${text} comes${who} at step ${injection.step}`, { injection });
    this.#options.onInjected(injection);
  }
}
