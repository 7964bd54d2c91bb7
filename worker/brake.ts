/**
 * Stops all workers of a generation after one and the same step. On a drain each worker says which step it has begun, at once and even
 * while it waits for others, and begins no further one; then all go on to the furthest step that any has begun. Each
 * generation agrees anew.
 */
import type { FromWorker } from '../src/protocol/messages.js';
import type { Inbox } from './inbox.js';

export class Brake {
  readonly #inbox: Inbox;
  readonly #send: (message: FromWorker) => void;
  /** Steps begun, whether committed or not. */
  #begun: number;
  #draining = false;
  #stopAfter: number | null = null;

  constructor(options: { readonly inbox: Inbox; readonly send: (message: FromWorker) => void; readonly step: number }) {
    this.#inbox = options.inbox;
    this.#send = options.send;
    this.#begun = options.step;
  }

  /** The coordinator wants the run to stop. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#send({ type: 'draining', step: this.#begun });
  }

  /** Whether `step`, counted from 0, may begin; waits while that is being agreed, until the generation is halted at most. */
  async mayBegin(step: number): Promise<boolean> {
    if (this.#draining) {
      this.#stopAfter ??= await this.#agreed();
      if (this.#stopAfter === null || step >= this.#stopAfter) return false;
    }
    this.#begun = step + 1;
    return true;
  }

  async #agreed(): Promise<number | null> {
    const answer = await this.#inbox.next('stop-after', 'halted');
    return answer.type === 'halted' ? null : answer.step;
  }
}
