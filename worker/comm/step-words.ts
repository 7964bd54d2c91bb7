/**
 * The words of shared memory by which the compute thread and the comm thread pace one another: how many steps have their
 * gradients ready, and how many are committed. Numbers only grow; a waiter is woken with `Atomics.notify`.
 */
import { LockstepError } from '../../src/errors.js';

const readyIndex = 0;
const committedIndex = 1;
const closedIndex = 2;
const numWords = 3;

export type SharedStepWords = Int32Array<SharedArrayBuffer>;

export function makeStepWords(step: number): SharedStepWords {
  const words = new Int32Array(new SharedArrayBuffer(numWords * Int32Array.BYTES_PER_ELEMENT));
  words.fill(step, readyIndex, closedIndex);
  return words;
}

/** One generation's pacing, seen from either thread. Steps are counted from 0; `step` done means the word is `step + 1`. */
export class StepWords {
  readonly #words: SharedStepWords;

  constructor(words: SharedStepWords) {
    this.#words = words;
  }

  /** Compute thread: the gradients of `step` are in shared memory. */
  markReady(step: number): void {
    this.#advance(readyIndex, step + 1);
  }

  /** Comm thread: the parameters are those after `step`. */
  markCommitted(step: number): void {
    this.#advance(committedIndex, step + 1);
  }

  /** Wakes every waiter for good. */
  close(): void {
    Atomics.store(this.#words, closedIndex, 1);
    Atomics.notify(this.#words, readyIndex);
    Atomics.notify(this.#words, committedIndex);
  }

  /** Comm thread: resolves when `step` is ready; false when it never will be. */
  async ready(step: number): Promise<boolean> {
    return this.#reached(readyIndex, step + 1);
  }

  /**
   * Compute thread: resolves when `step` is committed.
   *
   * @throws LockstepError ERR_STEP_FAILED when the generation ended before
   */
  async committed(step: number): Promise<void> {
    if (await this.#reached(committedIndex, step + 1)) return;
    throw new LockstepError('ERR_STEP_FAILED', `Step ${step} was not committed: the generation ended.`);
  }

  #advance(index: number, value: number): void {
    Atomics.store(this.#words, index, value);
    Atomics.notify(this.#words, index);
  }

  async #reached(index: number, value: number): Promise<boolean> {
    for (;;) {
      const current = Atomics.load(this.#words, index);
      if (current >= value) return true;
      if (Atomics.load(this.#words, closedIndex) !== 0) return false;
      const waiting = Atomics.waitAsync(this.#words, index, current);
      if (waiting.async) await waiting.value;
    }
  }
}
