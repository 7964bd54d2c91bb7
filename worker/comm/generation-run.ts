/** One generation in the comm thread: its links, its reduction, and the pace that it keeps with the compute thread. */
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import { LockstepError, toLockstepError } from '../../src/errors.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import { frameHeaderBytes } from '../../src/protocol/frame.js';
import type { Limits } from '../../src/protocol/limits.js';
import { FlatMemory } from '../../src/state/memory.js';
import type { SharedMemory } from '../../src/protocol/messages.js';
import type { BulkHandler } from '../../transport/bulk.js';
import type { Connection } from '../../transport/connection.js';
import { networkIndex, optimizerIndex } from './comm-times.js';
import type { GenerationSetup } from './channel.js';
import { PeerLinks } from './peer-links.js';
import { maxFrameBytes, type PeerAcceptor } from './peer-listener.js';
import { Reduction } from './reduction.js';
import type { SharedPages } from './shared-pages.js';
import { StepWords } from './step-words.js';
import { Windows } from './windows.js';

export interface GenerationRunOptions {
  readonly token: string | null;
  readonly limits: Limits;
  readonly hostId: string;
  /** To read the memory of peers of this host; null where that cannot be done. */
  readonly pages: SharedPages | null;
  /** Told once for each thing that ends the generation. */
  readonly report: (error: LockstepError) => void;
}

export class GenerationRun implements PeerAcceptor {
  readonly #setup: GenerationSetup;
  readonly #options: GenerationRunOptions;
  readonly #plan: AllReducePlan;
  readonly #memory: FlatMemory;
  readonly #windows = new Windows();
  readonly #links: PeerLinks;
  readonly #reduction: Reduction;
  readonly #words: StepWords;
  /** Of each bucket, the steps whose reduction was begun. */
  readonly #taken: number[];
  /** When the last bucket became ready, and when the last result came. */
  #readyMs = 0;
  #completeMs = 0;
  readonly #abort = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(setup: GenerationSetup, options: GenerationRunOptions) {
    const { runId, generation, rank, optimizer, step } = setup;
    const { token, limits, hostId } = options;
    this.#setup = setup;
    this.#options = options;
    this.#words = new StepWords(setup.words);
    this.#taken = new Array<number>(this.#words.numBuckets).fill(setup.step);
    const { signal } = this.#abort;
    this.#links = new PeerLinks({
      runId,
      generation,
      rank,
      hostId,
      token,
      limits,
      maxMessageBytes: maxFrameBytes,
      signal,
      memory: setup.sharedMemory,
      mount: (peer, theirs) => this.#mount(peer, theirs),
      frames: (peer) => this.#framesOf(peer),
    });
    const { links } = this.#links;
    this.#plan = planGeneration(setup);
    this.#memory = FlatMemory.attach(setup.memory);
    this.#reduction = new Reduction({
      plan: this.#plan,
      memory: this.#memory,
      windows: this.#windows,
      optimizer,
      step,
      send: (to, header, payload, onSent) => {
        links.get(to)?.connection.sendBulk(header, payload, () => {
          this.#guard(onSent);
        });
      },
      onComplete: () => {
        this.#completeMs = performance.now();
        this.#spend(networkIndex, this.#completeMs - this.#readyMs);
      },
      onCommit: (committed) => {
        this.#spend(optimizerIndex, performance.now() - this.#completeMs);
        this.#words.markCommitted(committed);
      },
    });
  }

  /** Steps committed so far in the run. */
  get step(): number {
    return this.#reduction.step;
  }

  get waiting(): string | null {
    return this.#reduction.waiting;
  }

  /** Resolves when every peer is connected; from then on steps are taken as the compute thread makes them ready. */
  async connect(): Promise<void> {
    await this.#links.connect();
    for (const [rank, { connection, readsOurs }] of this.#links.links) {
      if (readsOurs) this.#windows.readers.add(rank);
      this.#listen(rank, connection);
    }
    void this.#keepPace();
  }

  /** Buckets may have become ready. */
  wake(): void {
    this.#guard(() => {
      this.#takeReady();
    });
  }

  /** Rank 0 of a sharded run: resolves when the region `gathered` holds a moment of a bucket. */
  async gatherMoments(region: MomentRegion, bucket: number): Promise<void> {
    await this.#reduction.gatherMoments(region, bucket);
  }

  async accept(connection: Connection): Promise<void> {
    await this.#links.accept(connection);
  }

  close(): void {
    this.#abort.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#words.close();
    this.#links.close();
  }

  #mount(rank: number, theirs: SharedMemory): boolean {
    const { pages } = this.#options;
    return pages !== null && this.#windows.open(rank, theirs, { plan: this.#plan, memory: this.#memory, pages });
  }

  async #keepPace(): Promise<void> {
    try {
      let isOpen = true;
      while (isOpen) {
        const { signal } = this.#words;
        this.#takeReady();
        isOpen = await this.#words.signalled(signal);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Begins the reduction of each bucket that has become ready. */
  #takeReady(): void {
    for (const [bucket, numTaken] of this.#taken.entries()) {
      const numReady = this.#words.numReady(bucket);
      if (numReady === numTaken) continue;
      this.#taken[bucket] = numReady;
      this.#readyMs = performance.now();
      this.#reduction.onReady(numReady - 1, bucket);
    }
  }

  #spend(index: number, ms: number): void {
    const { times } = this.#setup;
    times[index] = (times[index] ?? 0) + ms;
  }

  #framesOf(rank: number): BulkHandler {
    return {
      headerBytes: frameHeaderBytes,
      begin: (header, numBytes) => {
        let payload: Uint8Array | null = null;
        this.#guard(() => {
          payload = this.#reduction.begin(rank, header, numBytes);
        });
        return payload;
      },
      progress: (numBytes) => {
        this.#guard(() => {
          this.#reduction.progress(rank, numBytes);
        });
      },
      end: () => {
        this.#guard(() => {
          this.#reduction.end(rank);
        });
      },
    };
  }

  #listen(rank: number, connection: Connection): void {
    void connection.closed.then(({ code, reason }) => {
      this.#onPeerGone(rank, reason || `code ${code}`);
    });
  }

  /** The coordinator decides what a lost peer means. Only if it stays silent does this worker give up by itself. */
  #onPeerGone(rank: number, why: string): void {
    if (this.#abort.signal.aborted) return;
    const { workerId = 'unknown', host = 'unknown' } = this.#setup.generation.workers[rank] ?? {};
    const message = `Worker ${workerId} (rank ${rank} on ${host}) is gone at step ${this.step}: ${why}.`;
    const timer = setTimeout(() => {
      this.#fail(new LockstepError('ERR_WORKER_LOST', message, { details: { workerId, rank, step: this.step } }));
    }, this.#options.limits.heartbeatTimeoutMs);
    this.#timers.add(timer);
  }

  /** Does what a socket tells of, unless this generation has ended. */
  #guard(action: () => void): void {
    if (this.#abort.signal.aborted) return;
    try {
      action();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    this.close();
    this.#options.report(toLockstepError(error));
  }
}

/** The plan of a generation's all-reduce, from what all its workers know. */
export function planGeneration(
  setup: Pick<GenerationSetup, 'generation' | 'rank' | 'slots' | 'layout' | 'bucketBytes' | 'wire' | 'optimizer'>,
): AllReducePlan {
  const { generation, rank, slots, layout, bucketBytes, wire, optimizer } = setup;
  const workers = generation.workers.map(({ firstSlot, endSlot, addresses }) => {
    return { firstSlot, endSlot, hostId: addresses.hostId };
  });
  return planAllReduce({
    generation: generation.generation,
    rank,
    slots,
    workers,
    segments: layout.segments,
    bucketBytes,
    wire,
    sharded: optimizer.sharded,
  });
}
