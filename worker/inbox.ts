/** What the coordinator says, handed out by type to whoever waits for it. An abort ends every wait. */
import { LockstepError, isErrorCode } from '../src/errors.js';
import type { FromCoordinator } from '../src/protocol/messages.js';

type Message<T extends FromCoordinator['type']> = Extract<FromCoordinator, { type: T }>;

export class Inbox {
  readonly #unread: FromCoordinator[] = [];
  readonly #waiting = new Set<(failure: LockstepError) => void>();
  #failure: LockstepError | null = null;
  #wake: () => void = () => undefined;

  add(message: FromCoordinator): void {
    if (message.type === 'abort') {
      const { code, message: text } = message.failure;
      this.fail(
        new LockstepError(isErrorCode(code) ? code : 'ERR_INTERNAL', text, { details: { fromCoordinator: true } }),
      );
      return;
    }
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

  /** The oldest unread message of this type, once there is one. */
  async next<T extends FromCoordinator['type']>(type: T): Promise<Message<T>> {
    for (;;) {
      const message = this.take(type);
      if (message) return message;
      await this.unlessFailed(new Promise<void>((resolve) => (this.#wake = resolve)));
    }
  }

  /** The oldest unread message of this type, or undefined. */
  take<T extends FromCoordinator['type']>(type: T): Message<T> | undefined {
    const index = this.#unread.findIndex((message) => message.type === type);
    if (index < 0) return undefined;
    return this.#unread.splice(index, 1)[0] as Message<T>; // found by its type
  }
}
