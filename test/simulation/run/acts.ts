/** What a process does to the world outside it, thing by thing: it may die before any of them. */
import type { Process } from './process.js';

export class Acts {
  readonly #process: Process;
  #numLeft = Infinity;
  #die: () => void = () => undefined;

  constructor(process: Process) {
    this.#process = process;
  }

  /** It dies after so many more. */
  limit(numLeft: number, die: () => void): void {
    this.#numLeft = numLeft;
    this.#die = die;
    this.#endIfOver();
  }

  do(act: () => void): void {
    if (this.#process.isDead) return;
    act();
    this.#numLeft--;
    this.#endIfOver();
  }

  #endIfOver(): void {
    if (this.#numLeft <= 0 && !this.#process.isDead) this.#die();
  }
}
