/**
 * A process as its machine sees it: it runs, is stopped and goes on later with what has come meanwhile, or is dead. All that it
 * does goes through `run`.
 */
import type { Clock } from './clock.js';

export class Process {
  readonly name: string;
  /** Where it runs: partitions and delays are between places. */
  readonly place: number;
  readonly #clock: Clock;
  #state: 'running' | 'stopped' | 'dead' = 'running';
  #stoppedMs: number | null = null;
  #backlog: (() => void)[] = [];
  readonly #ends: ((leavesWord: boolean) => void)[] = [];

  constructor(clock: Clock, name: string, place: number) {
    this.#clock = clock;
    this.name = name;
    this.place = place;
  }

  get isDead(): boolean {
    return this.#state === 'dead';
  }

  get isStopped(): boolean {
    return this.#state === 'stopped';
  }

  /** Since when; null where it is not. */
  get stoppedMs(): number | null {
    return this.#stoppedMs;
  }

  run(task: () => void): void {
    if (this.#state === 'running') task();
    else if (this.#state === 'stopped') this.#backlog.push(task);
  }

  after(delayMs: number, task: () => void): void {
    this.#clock.after(delayMs, () => {
      this.run(task);
    });
  }

  /** SIGSTOP. */
  stop(): void {
    if (this.#state !== 'running') return;
    this.#state = 'stopped';
    this.#stoppedMs = this.#clock.nowMs;
  }

  /** SIGCONT. */
  resume(): void {
    if (this.#state !== 'stopped') return;
    this.#state = 'running';
    this.#stoppedMs = null;
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const task of backlog) this.after(0, task);
  }

  /** @param leavesWord its connections close; not where its host is gone */
  die(leavesWord: boolean): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#stoppedMs = null;
    this.#backlog = [];
    for (const end of this.#ends) end(leavesWord);
  }

  /** Called when it is dead. */
  onDead(end: (leavesWord: boolean) => void): void {
    this.#ends.push(end);
  }
}
