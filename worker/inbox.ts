/** What the coordinator says, handed out by type to whoever waits for it. An abort ends every wait. */
import { LockstepError, isErrorCode } from '../src/errors.js';
import type { FromCoordinator } from '../src/protocol/messages.js';

type Message<T extends FromCoordinator['type']> = Extract<FromCoordinator, { type: T }>;

export class Inbox {
  readonly #unread: FromCoordinator[] = [];
  readonly #failed: Promise<never>;
  #reject: (error: LockstepError) => void = () => undefined;
  #wake: () => void = () => undefined;

  constructor() {
    this.#failed = new Promise<never>((_, reject) => (this.#reject = reject));
    this.#failed.catch(() => undefined); // whoever waits sees it; nobody may be waiting yet
  }

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

  fail(error: LockstepError): void {
    this.#reject(error);
  }

  /** The result of `work`, or the failure of the run, whichever comes first. */
  async unlessFailed<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#failed]);
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
