/**
 * What the coordinator says, and what the comm thread makes of it, handed out by type to whoever waits for it. An abort ends
 * every wait.
 */
import { LockstepError, isErrorCode } from '../src/errors.js';
import type { FromCoordinator } from '../src/protocol/messages.js';
import type { OfGeneration } from './comm/channel.js';

type Any = FromCoordinator | OfGeneration;
type Message<T extends Any['type']> = Extract<Any, { type: T }>;

/** A halt makes them void, those that nobody has read yet. */
const ofOneGeneration: readonly Any['type'][] = ['halted', 'enter', 'begin', 'drain', 'stop-after'];

export class Inbox {
  #unread: Any[] = [];
  readonly #waiting = new Set<(failure: LockstepError) => void>();
  #failure: LockstepError | null = null;
  #wake: () => void = () => undefined;

  add(message: Any): void {
    if (message.type === 'abort') {
      const { code, message: text } = message.failure;
      this.fail(
        new LockstepError(isErrorCode(code) ? code : 'ERR_INTERNAL', text, { details: { fromCoordinator: true } }),
      );
      return;
    }
    if (message.type === 'halted') this.drop(ofOneGeneration);
    this.#unread.push(message);
    this.#wake();
  }

  /** The first failure is the one that counts. */
  fail(error: LockstepError): void {
    this.#failure ??= error;
    for (const reject of this.#waiting) reject(this.#failure);
  }

  /**
   * The result of `work`, or the failure of the run, whichever comes first. Not `Promise.race` with one promise that stands
   * for the failure: that one would hold on to every wait of the run.
   */
  async unlessFailed<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const settled = (): void => void this.#waiting.delete(reject);
      work.then(resolve, reject).then(settled, settled);
      if (this.#failure) reject(this.#failure);
      else this.#waiting.add(reject);
    });
  }

  /** The oldest unread message of one of these types, once there is one. */
  async next<T extends Any['type']>(...types: readonly T[]): Promise<Message<T>> {
    for (;;) {
      const index = this.#unread.findIndex(({ type }) => types.some((wanted) => wanted === type));
      if (index >= 0) return this.#unread.splice(index, 1)[0] as Message<T>; // found by its type
      await this.unlessFailed(new Promise<void>((resolve) => (this.#wake = resolve)));
    }
  }

  /** Forgets what is unread of these types. Whether there was any. */
  drop(types: readonly Any['type'][]): boolean {
    const numBefore = this.#unread.length;
    this.#unread = this.#unread.filter(({ type }) => !types.includes(type));
    return this.#unread.length < numBefore;
  }
}
