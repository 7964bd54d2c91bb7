/** One generation in the comm thread: its links, its reduction, and the pace that it keeps with the compute thread. */
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import { LockstepError, toLockstepError } from '../../src/errors.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { Limits } from '../../src/protocol/limits.js';
import { FlatMemory } from '../../src/state/memory.js';
import type { Connection } from '../../transport/connection.js';
import type { GenerationSetup } from './channel.js';
import { PeerLinks } from './peer-links.js';
import { maxFrameBytes, type PeerAcceptor } from './peer-listener.js';
import { Reduction } from './reduction.js';
import { StepWords } from './step-words.js';

export interface GenerationRunOptions {
  readonly token: string | null;
  readonly limits: Limits;
  readonly hostId: string;
  /** Told once for each thing that ends the generation. */
  readonly report: (error: LockstepError) => void;
}

export class GenerationRun implements PeerAcceptor {
  readonly #setup: GenerationSetup;
  readonly #options: GenerationRunOptions;
  readonly #links: PeerLinks;
  readonly #reduction: Reduction;
  readonly #words: StepWords;
  readonly #abort = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(setup: GenerationSetup, options: GenerationRunOptions) {
    const { runId, generation, rank, optimizer, step } = setup;
    const { token, limits, hostId } = options;
    this.#setup = setup;
    this.#options = options;
    this.#words = new StepWords(setup.words);
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
    });
    const { connections } = this.#links;
    this.#reduction = new Reduction({
      plan: planGeneration(setup),
      memory: FlatMemory.attach(setup.memory),
      optimizer,
      step,
      send: (to, header, payload, onSent) => {
        connections.get(to)?.sendBulk(header, payload, () => {
          this.#guard(onSent);
        });
      },
      onCommit: (committed) => {
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
    for (const [rank, connection] of this.#links.connections) this.#listen(rank, connection);
    void this.#keepPace();
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

  async #keepPace(): Promise<void> {
    try {
      for (let { step } = this.#setup; await this.#words.ready(step); step++) this.#reduction.onReady(step);
    } catch (error) {
      this.#fail(error);
    }
  }

  #listen(rank: number, connection: Connection): void {
    connection.onMessage((fragments) => {
      this.#guard(() => {
        this.#reduction.onFrame(rank, fragments);
      });
    });
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
