/** Virtual time, in milliseconds: what is to happen happens in its order, and of one time in the order in which it was planned. */
import { EventQueue } from '../../../bench/scale/event-queue.js';

export class Clock {
  #nowMs = 0;
  #numPlanned = 0;
  readonly #queue = new EventQueue<() => void>();

  get nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, task: () => void): void {
    this.#queue.push(this.#nowMs + delayMs, this.#numPlanned++, task);
  }

  /** Lets the next thing happen. Whether there was any. */
  step(): boolean {
    const timeMs = this.#queue.nextTime;
    const task = this.#queue.pop();
    if (!task) return false;
    this.#nowMs = timeMs;
    task();
    return true;
  }
}
