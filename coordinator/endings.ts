/**
 * How workers ended, for people. A connection tells at once that a worker is gone, and the run goes on at once; why its
 * process ended is known a moment later, so what is said of it waits for that.
 */
import { LockstepError } from '../src/errors.js';
import type { ToldRecovery } from './run-record.js';

export interface EndingsOptions {
  /** How a worker's process ended, where the launcher knows. */
  readonly explainLoss: ((pid: number) => Promise<string | null>) | undefined;
  readonly onRecovery: (recovery: ToldRecovery) => void;
}

export class Endings {
  readonly #options: EndingsOptions;
  #told: Promise<void> = Promise.resolve();

  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  /** Resolves when all that was to be told has been. */
  get told(): Promise<void> {
    return this.#told;
  }

  /** In the order of the calls. */
  tell(recovery: ToldRecovery): void {
    const explained = this.#explain(recovery.pid, recovery);
    this.#told = this.#told.then(async () => {
      this.#options.onRecovery({ ...recovery, why: await explained });
    });
  }

  /** The error of a worker's loss, with what is known of its process by now. */
  async explain(error: LockstepError): Promise<LockstepError> {
    const { pid, kind, why } = error.details;
    if (typeof pid !== 'number' || typeof why !== 'string' || kind !== 'lost') return error;
    const ending = await this.#explain(pid, { kind, why });
    const details = { ...error.details, why: ending };
    return new LockstepError(error.code, error.message.replace(why, ending), { details });
  }

  async #explain(pid: number | null, { kind, why }: Pick<ToldRecovery, 'kind' | 'why'>): Promise<string> {
    return kind === 'lost' && pid !== null ? ((await this.#options.explainLoss?.(pid)) ?? why) : why;
  }
}
