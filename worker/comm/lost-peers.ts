/** Peers whose link is gone. The coordinator decides what that means; only if it stays silent for long does this worker give up by itself. */
import { LockstepError } from '../../src/errors.js';
import type { RosterEntry } from '../../src/protocol/messages.js';
import type { Limits } from '../../src/protocol/limits.js';

interface LostPeersOptions {
  readonly limits: Limits;
  /** There is no coordinator at present: nobody is given up. */
  readonly isAlone: () => boolean;
  /** Told of each at once. */
  readonly note: (message: string) => void;
  /** Told of one that the coordinator has said nothing about. */
  readonly giveUp: (error: LockstepError) => void;
}

export class LostPeers {
  readonly #options: LostPeersOptions;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(options: LostPeersOptions) {
    this.#options = options;
  }

  /** @param step the one that is not committed yet here */
  add({ workerId, rank, host }: RosterEntry, step: number, why: string): void {
    const message = `Worker ${workerId} (rank ${rank} on ${host}) is gone at step ${step}: ${why}.`;
    this.#options.note(message);
    this.#giveUpLater(new LockstepError('ERR_WORKER_LOST', message, { details: { workerId, rank, step } }));
  }

  /** The generation has ended. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #giveUpLater(error: LockstepError): void {
    const { limits, isAlone, giveUp } = this.#options;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (isAlone()) this.#giveUpLater(error);
      else giveUp(error);
    }, patienceMs(limits));
    this.#timers.add(timer);
  }
}

/** Longer than the coordinator takes to see a loss. */
function patienceMs({ heartbeatTimeoutMs, connectTimeoutMs }: Limits): number {
  return heartbeatTimeoutMs + connectTimeoutMs;
}
