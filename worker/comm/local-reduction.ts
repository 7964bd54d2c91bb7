/**
 * The all-reduce of workers of one host that read one another's memory: no frame, no other thread. The compute thread does it
 * when it has its gradients, where there is nothing that it could overlap with, or no core that would do it meanwhile
 * (idle-cores.ts).
 *
 *   tell that my partials are there → all have → sum my chunk → tell that my result is there → all have → commit
 *
 * It keeps the order of the direct way (windows.ts): a partial is overwritten when its sender has committed, hence when all
 * have summed; a result when its owner has all partials of the next step, hence when all have committed. What is told or
 * written is so inside of `words.within`: a halt waits for that, and nothing of it happens after one.
 */
import type { AllReducePlan } from '../../src/collective/plan.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { Boards, type Told, type Waking } from './boards.js';
import {
  awaitedIndex,
  awaitedRankIndex,
  networkIndex,
  nobody,
  optimizerIndex,
  spend,
  type CommTimes,
} from './comm-times.js';
import { Finiteness, type NotFinite } from './finiteness.js';
import { Places, type Range } from './places.js';
import { blockMs, type StepWords } from './step-words.js';
import { Sums } from './sums.js';
import { Update, type UpdateOptions } from './update.js';

export interface LocalReductionOptions {
  /** Local (plan.ts). */
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  /** Null for a worker that is alone. */
  readonly pages: Waking | null;
  /** @default nothing */
  readonly native?: UpdateOptions['native'];
  readonly optimizer: OptimizerConfig;
  readonly words: StepWords;
  readonly times: CommTimes;
  /** Lets messages come in; rejects where the run has failed. */
  readonly turn: () => Promise<void>;
}

/** `not-finite`: what the step would apply is not, and nothing is applied. */
export type Outcome =
  | { readonly type: 'committed' }
  | { readonly type: 'not-finite'; readonly found: NotFinite }
  /** The generation is over, and the step is not committed in it. */
  | { readonly type: 'ended' };

/** Messages come in once in so long at most: a turn of the event loop is as long as a small step's sum. */
const turnMs = 2;

export class LocalReduction {
  readonly #options: LocalReductionOptions;
  readonly #boards: Boards;
  readonly #sums: Sums;
  readonly #update: Update;
  readonly #finiteness: Finiteness;
  /** When messages came in last. */
  #turnedMs = 0;
  /** The longest wait of this step. */
  #longestMs = 0;

  constructor(options: LocalReductionOptions) {
    const { plan, memory, pages, native, optimizer } = options;
    const places = new Places(plan, memory);
    this.#options = options;
    this.#boards = new Boards(plan, memory, pages);
    this.#sums = new Sums(plan, memory, places);
    this.#finiteness = new Finiteness(plan, memory, this.#sums);
    this.#update = new Update({ plan, memory, optimizer, places, sums: this.#sums, native });
  }

  /** The partials of `step` are in memory: resolves when it is committed, or will not be. */
  async reduce(step: number): Promise<Outcome> {
    const { times, turn } = this.#options;
    const begun = performance.now();
    this.#longestMs = 0;
    times[awaitedRankIndex] = nobody;
    for (const bucket of this.#options.plan.buckets) this.#sums.prepare(bucket);
    if (!this.#tell('partials', step)) return { type: 'ended' };
    if (begun - this.#turnedMs >= turnMs) {
      await turn();
      this.#turnedMs = performance.now();
    }
    if (!(await this.#all('partials', step)) || !this.#sum(step)) return { type: 'ended' };
    if (!this.#tell('results', step) || !(await this.#all('results', step))) return { type: 'ended' };
    const complete = performance.now();
    if (!this.#isFinite(step)) return { type: 'not-finite', found: this.#finiteness.find(step) };
    const committed = this.#commit(step, () => {
      this.#update.apply(step);
    });
    spend(times, networkIndex, complete - begun);
    spend(times, optimizerIndex, performance.now() - complete);
    return { type: committed ? 'committed' : 'ended' };
  }

  /** Commits a step that is not finite, and applies nothing of it but its metrics. Whether it did. */
  skip(step: number): boolean {
    return this.#commit(step, () => {
      this.#update.skip(step);
    });
  }

  #tell(what: Told, step: number): boolean {
    return this.#options.words.within(() => {
      this.#boards.tell(what, step + 1);
    });
  }

  async #all(what: Told, step: number): Promise<boolean> {
    const { words, turn } = this.#options;
    const begun = performance.now();
    while (!this.#boards.awaitAll(what, step + 1, blockMs)) {
      if (words.isClosed) return false;
      await turn();
    }
    this.#recordWait(performance.now() - begun);
    return true;
  }

  #recordWait(ms: number): void {
    const { times } = this.#options;
    const rank = this.#boards.takeAwaited();
    if (rank === nobody) return;
    spend(times, awaitedIndex, ms);
    if (ms <= this.#longestMs) return;
    this.#longestMs = ms;
    times[awaitedRankIndex] = rank;
  }

  /** What this rank owns; each sum is looked at while it is in the processor's cache. Whether the generation goes on. */
  #sum(step: number): boolean {
    const { plan, words } = this.#options;
    const notFinite: Range[] = [];
    for (const bucket of plan.buckets) {
      const isOpen = words.within(() => {
        for (const chunk of bucket.chunks.filter(({ owner }) => owner === plan.rank)) {
          this.#sums.sum(bucket, chunk, step, (address, block) => {
            if (!this.#finiteness.isBlockFinite(bucket, address, block)) notFinite.push(block);
          });
        }
      });
      if (!isOpen) return false;
    }
    return notFinite.length === 0 || this.#tell('notFinite', step);
  }

  /** What nobody owns each looks at by itself. */
  #isFinite(step: number): boolean {
    if (this.#boards.isNotFinite(step + 1)) return false;
    return this.#options.plan.buckets.every((bucket) =>
      bucket.chunks.every((chunk) => chunk.owner !== null || this.#finiteness.isFinite(bucket, chunk, step)),
    );
  }

  #commit(step: number, change: () => void): boolean {
    const { words } = this.#options;
    return words.within(() => {
      change();
      words.markCommitted(step);
    });
  }
}
