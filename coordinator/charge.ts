/** Whether this process has its run still: it may have been stopped, or cut off, and another one have taken the run since. */
import type { Limits } from '../src/protocol/limits.js';
import type { RunJournal } from './coordinator-options.js';

/** Within the time that a worker bears a silent coordinator, after which another one can have replaced this. */
const looksPerTimeout = 2;

export class Charge {
  readonly #journal: Pick<RunJournal, 'keep'> | null;
  readonly #intervalMs: number;
  #lookedMs = -Infinity;
  #isReplaced = false;

  constructor(journal: Pick<RunJournal, 'keep'> | null, { heartbeatTimeoutMs }: Pick<Limits, 'heartbeatTimeoutMs'>) {
    this.#journal = journal;
    this.#intervalMs = heartbeatTimeoutMs / looksPerTimeout;
  }

  get isReplaced(): boolean {
    return this.#isReplaced;
  }

  /** To be asked before anything is done: looks into the journal, if the last look is too long ago. */
  isHeld(nowMs: number): boolean {
    if (this.#isReplaced) return false;
    if (nowMs - this.#lookedMs < this.#intervalMs) return true;
    this.#lookedMs = nowMs;
    return this.#journal?.keep() ?? true;
  }

  giveUp(): void {
    this.#isReplaced = true;
  }
}
