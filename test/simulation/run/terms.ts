/** One term at a time: who has a run by its journal, which generations come from one that has it no more, and who obeys. */
import type { RunPlan } from '../../../src/protocol/messages.js';
import type { Process } from './process.js';
import { Violation } from './violation.js';

/** A generation, by who made it: after a power cut another one may have the number of one that nobody knows who lives. */
export interface Place {
  readonly coordinator: string;
  readonly generation: number;
}

type Followed = Pick<RunPlan, 'runId' | 'term'>;

interface Began extends Followed {
  readonly process: Process;
  /** Others that have the run since, and from when on this one has had the time to find out. */
  overs: readonly { readonly by: Process; readonly atMs: number }[];
  /** The disk that had its term was lost: who begins by what another one has written since may have it again. */
  isForgotten: boolean;
}

/** A coordinator looks at the journal so often: half of a heartbeat's limit. */
const lookMs = 500;

export class Terms {
  /** Oldest first. */
  #began: Began[] = [];
  /** Made by one that has its run no more. */
  readonly #late = new Set<string>();
  readonly #followed = new Map<string, Followed>();

  /** @param isFound its disk was lost, and a worker has named the run: it knows of no term that no worker has heard of */
  onBegan({ runId, term }: Followed, process: Process, nowMs: number, isFound: boolean): void {
    for (const other of this.#began) {
      if (other.process === process || other.runId !== runId) continue;
      if (other.term >= term && !isFound && !other.isForgotten) {
        throw new Violation('one term', `${process.name} begins with term ${term}, after ${other.process.name}`);
      }
      // One that is stopped looks before it does anything.
      const atMs = nowMs + (other.process.isStopped ? 0 : lookMs);
      if (other.term <= term) other.overs = [...other.overs, { by: process, atMs }];
    }
    this.#began.push({ runId, term, process, overs: [], isForgotten: false });
  }

  /** Nothing says any more who has the run, or had it. */
  onDiskLost(): void {
    this.#began = this.#began.filter(({ process }) => !process.isDead);
    for (const one of this.#began) Object.assign(one, { overs: [], isForgotten: true });
  }

  onForm(runId: string, generation: number, process: Process, nowMs: number): void {
    const began = this.#began.findLast((one) => one.process === process && one.runId === runId);
    const isOver = began?.overs.some(({ by, atMs }) => !by.isDead && nowMs > atMs) === true;
    if (isOver) this.#late.add(nameOf({ coordinator: process.name, generation }));
  }

  /** The term of the run that a worker is in never falls. */
  onFollowed(workerId: string, plan: Followed): void {
    const before = this.#followed.get(workerId);
    if (before && (plan.runId !== before.runId || plan.term < before.term)) {
      throw new Violation('one term', `${workerId} follows term ${plan.term}, having heard of ${before.term}`);
    }
    this.#followed.set(workerId, plan);
  }

  onEntered(workerId: string, place: Place): void {
    if (!this.#late.has(nameOf(place))) return;
    const what = `generation ${place.generation} of ${place.coordinator}`;
    throw new Violation('one term', `${workerId} enters ${what}, while another coordinator has the run`);
  }
}

export function nameOf({ coordinator, generation }: Place): string {
  return `${coordinator}/${generation}`;
}
