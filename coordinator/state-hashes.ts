/** Compares the hashes of the state that workers tell of now and then, and says who has another one than most. */
import { LockstepError } from '../src/errors.js';
import type { Member, MembershipEvent } from './membership-state.js';

type Verdict = Extract<MembershipEvent, { type: 'diverged' | 'abandon' }>;

type Place = Pick<Member, 'workerId' | 'host' | 'pid'>;

/** Live workers are one step apart at most: of two comparisons that are under way the older one is missing a worker. */
const keptSteps = 2;

export class StateHashes {
  /** By step, in the order in which the first told of it, then worker. */
  readonly #hashes = new Map<number, Map<string, string>>();
  /** After so many steps all had the same; null: not yet. */
  #agreedStep: number | null = null;

  /** What follows of one more hash, once all of these workers have told theirs. */
  add(workerId: string, told: { readonly step: number; readonly hash: string }, workers: readonly Place[]): Verdict[] {
    const { step, hash } = told;
    const hashes = this.#hashes.get(step) ?? new Map<string, string>();
    this.#hashes.set(step, hashes.set(workerId, hash));
    for (const old of [...this.#hashes.keys()].slice(0, -keptSteps)) this.#hashes.delete(old);
    if (!workers.every((one) => hashes.has(one.workerId))) return [];
    this.#hashes.delete(step);
    const groups = groupByHash(workers, hashes);
    if (groups.length > 1) return [this.#verdict(step, groups)];
    this.#agreedStep = step;
    return [];
  }

  #verdict(step: number, groups: readonly Group[]): Verdict {
    const numWorkers = groups.reduce((sum, { workers }) => sum + workers.length, 0);
    const [most, ...others] = groups.toSorted((a, b) => b.workers.length - a.workers.length);
    const since =
      this.#agreedStep === null ? 'They were never compared before' : `They agreed after step ${this.#agreedStep}`;
    if (most && most.workers.length > numWorkers / 2) {
      const workerIds = others.flatMap(({ workers }) => workers.map(({ workerId }) => workerId));
      const found = others.map(({ hash }) => hash).join('; ');
      const why = `after step ${step} its state is another than that of ${most.workers.length} others: ${found}, not ${most.hash}. ${since}`;
      return { type: 'diverged', workerIds, why };
    }
    const who = groups.map(({ hash, workers }) => `${workers.map(describe).join(' and ')}: ${hash}`).join('; ');
    const message = `After step ${step} workers have different states, and none is that of most: ${who}. ${since}. The memory, the processor or the GPU of one of these hosts is at fault; go on from a checkpoint of a step at which they agreed.`;
    const details = { step, agreedStep: this.#agreedStep };
    return { type: 'abandon', error: new LockstepError('ERR_STATE_DIVERGED', message, { details }) };
  }
}

interface Group {
  readonly hash: string;
  readonly workers: readonly Place[];
}

function groupByHash(workers: readonly Place[], hashes: ReadonlyMap<string, string>): Group[] {
  const groups = new Map<string, Place[]>();
  for (const worker of workers) {
    const hash = hashes.get(worker.workerId) ?? '';
    groups.set(hash, [...(groups.get(hash) ?? []), worker]);
  }
  return [...groups].map(([hash, members]) => ({ hash, workers: members }));
}

function describe({ workerId, host, pid }: Place): string {
  return `${workerId} (pid ${pid} on ${host})`;
}
