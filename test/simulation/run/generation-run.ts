/** One generation in a simulated comm thread: what worker/comm/generation-run.ts does. */
import { planAllReduce, type AllReducePlan } from '../../../src/collective/plan.js';
import { waiting } from '../../../src/collective/waiting.js';
import type { AllReduce } from '../../../src/collective/all-reduce.js';
import { LockstepError, toLockstepError } from '../../../src/errors.js';
import type { Entry } from '../../../src/membership/participant.js';
import type { Elements, Memory } from './memory.js';
import { Moments } from './moments.js';
import type { End } from './network.js';
import { PeerLinks, type Frame, type PeerMessage } from './peer-links.js';
import type { Process } from './process.js';
import { Reduction } from './reduction.js';
import { StateTransfer } from './state-transfer.js';
import { Violation } from './violation.js';
import { Words } from './words.js';
import type { World } from './world.js';

export interface GenerationRunOptions {
  readonly world: World;
  readonly process: Process;
  readonly memory: Memory;
  readonly entry: Entry;
  readonly onLinked: () => void;
  readonly onFetched: () => void;
  readonly onCommit: (numSteps: number) => void;
  /** There is no coordinator at present. */
  readonly isAlone: () => boolean;
  /** There is no way to a peer. */
  readonly onUnlinked: (error: LockstepError) => void;
  readonly onFailure: (error: LockstepError) => void;
}

export class GenerationRun {
  readonly words: Words;
  readonly #options: GenerationRunOptions;
  readonly #plan: AllReducePlan;
  readonly #machine: AllReduce;
  readonly #links: PeerLinks;
  readonly #reduction: Reduction;
  readonly #transfer: StateTransfer;
  readonly #moments: Moments;
  /** Of each bucket, the steps whose reduction was begun. */
  readonly #taken: number[];
  #isClosed = false;

  constructor(options: GenerationRunOptions) {
    const { world, entry, memory, onFetched } = options;
    const { step } = entry.generation;
    this.#options = options;
    this.#plan = planOf(world, entry);
    this.#machine = world.parts.makeAllReduce(this.#plan, step);
    this.words = new Words(step, this.#plan.buckets.length);
    this.#taken = [...this.words.numReady];
    this.#links = this.#makeLinks();
    const send = (to: number, bulk: Parameters<End<PeerMessage>['sendBulk']>[0]): void => {
      this.#links.get(to)?.sendBulk(this.#guarded(bulk));
    };
    const onCommit = (committed: number): void => {
      options.onCommit(committed + 1);
      this.words.numCommitted = committed + 1;
    };
    this.#reduction = new Reduction({ plan: this.#plan, machine: this.#machine, memory, send, onCommit });
    this.#transfer = new StateTransfer({ memory, send, onFetched });
    this.#moments = new Moments({ plan: this.#plan, memory, send });
  }

  get step(): number {
    return this.#machine.step;
  }

  get waiting(): string {
    return waiting(this.#plan, this.#machine);
  }

  connect(): void {
    this.#links.connect();
  }

  accept(end: End<PeerMessage>): void {
    this.#links.accept(end);
  }

  fetch(ranks: readonly number[]): void {
    this.#transfer.fetch(ranks);
  }

  /** The moments that this rank alone holds; null: each holds all. */
  get owned(): Elements[] | null {
    return this.#moments.owned;
  }

  begin(): void {
    const { owned } = this;
    if (owned) this.#options.memory.keepMoments(owned);
  }

  /** Rank 0: tells all moments, of whoever holds them; null: the generation ended before. */
  gatherMoments(onEnd: (moments: Float32Array | null) => void): void {
    if (this.#isClosed) onEnd(null);
    else this.#moments.gather(onEnd);
  }

  /** Begins the reduction of each bucket that has become ready. */
  takeReady(): void {
    this.#guard(() => {
      for (const [bucket, numTaken] of this.#taken.entries()) {
        const numReady = this.words.numReady[bucket] ?? 0;
        if (numReady === numTaken) continue;
        this.#taken[bucket] = numReady;
        this.#reduction.onReady(numReady - 1, bucket);
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    this.words.isClosed = true;
    this.#moments.close();
    this.#links.close();
  }

  #makeLinks(): PeerLinks {
    const { world, process, entry, onLinked } = this.#options;
    return new PeerLinks({
      world,
      process,
      entry,
      onLinked,
      onFrame: (from, frame) => {
        this.#guard(() => {
          this.#onFrame(from, frame);
        });
      },
      onGone: (rank) => {
        this.#onGone(rank);
      },
      onFailure: (error) => {
        if (!this.#isClosed) this.#options.onUnlinked(error);
      },
    });
  }

  #onFrame(from: number, frame: Frame): void {
    switch (frame.type) {
      case 'state':
      case 'state-request':
        this.#transfer.onFrame(from, frame);
        break;
      case 'moment':
      case 'moment-request':
        this.#moments.onFrame(from, frame);
        break;
      case 'partial':
      case 'result':
        this.#reduction.onFrame(from, frame);
    }
  }

  /** The coordinator decides what a lost peer means. */
  #onGone(rank: number): void {
    const { world, process, isAlone } = this.#options;
    const { heartbeatTimeoutMs, connectTimeoutMs } = world.patience;
    process.after(heartbeatTimeoutMs + connectTimeoutMs, () => {
      if (this.#isClosed) return;
      if (isAlone()) this.#onGone(rank);
      else this.#fail(new LockstepError('ERR_WORKER_LOST', `Rank ${rank} is gone.`));
    });
  }

  #guarded<B extends { readonly onSent: () => void }>(bulk: B): B {
    return {
      ...bulk,
      onSent: () => {
        this.#guard(bulk.onSent);
      },
    };
  }

  #guard(action: () => void): void {
    if (this.#isClosed) return;
    try {
      action();
    } catch (thrown) {
      if (thrown instanceof Violation) throw thrown;
      this.#fail(thrown);
    }
  }

  #fail(thrown: unknown): void {
    if (this.#isClosed) return;
    this.close();
    this.#options.onFailure(toLockstepError(thrown));
  }
}

/** Made once for all generations of the same workers, of all runs of the same job. */
const plans = new Map<string, AllReducePlan>();

function planOf({ setting, job }: World, { generation, self }: Entry): AllReducePlan {
  const { slots, elements } = job.shape;
  const { bucketBytes, hopBytes, isSharded: sharded } = setting;
  const workers = generation.workers.map(({ firstSlot, endSlot, addresses }) => {
    return { firstSlot, endSlot, hostId: addresses.hostId };
  });
  const { rank } = self;
  const ofRun = [elements, slots, bucketBytes, hopBytes, sharded];
  const key = [...ofRun, rank, ...workers.flatMap((one) => Object.values(one))].join();
  const segments = [{ reducedElements: elements, trainableElements: elements }];
  const fixed = { generation: generation.generation, rank, slots, workers, segments, bucketBytes, hopBytes, sharded };
  const plan = plans.get(key) ?? planAllReduce(fixed);
  plans.set(key, plan);
  return { ...plan, generation: fixed.generation };
}
