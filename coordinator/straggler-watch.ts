/** Follows what heartbeats tell of the pace: says who is a straggler, and whom the job wants out for it. */
import type { Log } from '../src/log.js';
import type { FromWorker, RosterEntry } from '../src/protocol/messages.js';
import type { Straggler } from '../src/run-summary.js';
import { describeStraggler, Stragglers } from './stragglers.js';

export interface StragglerWatchOptions {
  /** Infinity: none is evicted. */
  readonly evictAfterSeconds: number;
  /** Of one that is named, or is none any more. */
  readonly onChange: (straggler: Straggler) => void;
  /** Again with each heartbeat, as long as it stays. */
  readonly onOverdue: (workerId: string, why: string) => void;
  readonly log: Log;
}

export class StragglerWatch {
  readonly #options: StragglerWatchOptions;
  readonly #stragglers = new Stragglers();

  constructor(options: StragglerWatchOptions) {
    this.#options = options;
  }

  /** How this worker is called; null: no straggler. */
  of(workerId: string): Straggler | null {
    return this.#stragglers.of(workerId);
  }

  add(
    workerId: string,
    heartbeat: Extract<FromWorker, { type: 'heartbeat' }>,
    { generation, roster }: { readonly generation: number; readonly roster: readonly RosterEntry[] },
  ): void {
    const { evictAfterSeconds, onChange, onOverdue, log } = this.#options;
    const nowMs = performance.now();
    const workers = roster.map((one) => ({ workerId: one.workerId, numSlots: one.endSlot - one.firstSlot }));
    const change = this.#stragglers.add(workerId, heartbeat, { generation, workers, nowMs });
    if (change) {
      onChange(change);
      log[change.untilStep === null ? 'warn' : 'info'](describeStraggler(change));
    }
    const straggler = this.of(workerId);
    if (!straggler || this.#stragglers.slowForMs(workerId, nowMs) < evictAfterSeconds * 1000) return;
    onOverdue(workerId, `it was ${straggler.factor.toFixed(1)} times as slow as the others for ${evictAfterSeconds} s`);
  }
}
