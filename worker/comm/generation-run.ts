/** One generation in the comm thread: its links, its reduction, and what ends it. */
import type { AllReducePlan } from '../../src/collective/plan.js';
import { toLockstepError, type LockstepError } from '../../src/errors.js';
import type { Entry } from '../../src/membership/participant.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { Limits } from '../../src/protocol/limits.js';
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import type { FlatMemory } from '../../src/state/memory.js';
import type { BulkHandler } from '../../transport/bulk.js';
import type { Connection } from '../../transport/connection.js';
import type { Impediment } from '../../transport/impediment.js';
import { Boards } from './boards.js';
import type { RunSetup } from './channel.js';
import { clockMs, type FlightRecorder } from '../flight/flight-recorder.js';
import { planGeneration } from './generation-plan.js';
import { hasIdleCores } from './idle-cores.js';
import { LostPeers } from './lost-peers.js';
import { PeerLinks } from './peer-links.js';
import { peerFrames } from './peer-frames.js';
import { maxFrameBytes, type PeerAcceptor } from './peer-listener.js';
import { ReadyBuckets } from './ready-buckets.js';
import { ReductionClock } from './reduction-clock.js';
import { Reduction } from './reduction.js';
import type { SharedPages } from './shared-pages.js';
import { StateTransfer } from './state-transfer.js';
import { namingMs, notFiniteError, skippedText, type NotFinite } from './finiteness.js';
import { makeStepWords, StepWords, type SharedStepWords } from './step-words.js';
import { Windows } from './windows.js';

export interface GenerationRunOptions {
  readonly setup: RunSetup;
  readonly memory: FlatMemory;
  readonly entry: Entry;
  readonly token: string | null;
  readonly limits: Limits;
  readonly hostId: string;
  /** To read the memory of peers of this host; null where that cannot be done. */
  readonly pages: SharedPages | null;
  /** Told of frames and lost links. @default nobody is */
  readonly flight?: FlightRecorder;
  readonly impediment: Impediment;
  /** There is no coordinator at present to decide what a lost peer means. */
  readonly isAlone: () => boolean;
  /** Told of each commit, with the number of steps committed by then. */
  readonly onCommit: (numSteps: number) => void;
  /** Called again and again in long work, which keeps this thread from all else. */
  readonly pulse: () => void;
  /** Told why a step is skipped. */
  readonly onSkipped: (why: string) => void;
  /** Told once for each thing that ends the generation. */
  readonly report: (error: LockstepError) => void;
}

export class GenerationRun implements PeerAcceptor {
  readonly words: SharedStepWords;
  readonly #options: GenerationRunOptions;
  readonly #plan: AllReducePlan;
  readonly #windows = new Windows();
  readonly #links: PeerLinks;
  readonly #reduction: Reduction;
  readonly #transfer: StateTransfer;
  readonly #stepWords: StepWords;
  readonly #boards: Boards;
  readonly #ready: ReadyBuckets;
  /** The compute thread reduces, and commits. */
  #inMemory = false;
  readonly #clock: ReductionClock;
  #isClosed = false;
  readonly #abort = new AbortController();
  readonly #lost: LostPeers;
  #naming: NodeJS.Timeout | undefined;

  constructor(options: GenerationRunOptions) {
    const { setup, memory, entry, token, limits, hostId, impediment } = options;
    const { generation, self } = entry;
    const { step } = generation;
    const { runId, optimizer, sharedMemory } = setup;
    const { rank } = self;
    this.#options = options;
    this.#plan = planGeneration({ ...setup, generation, rank, layout: memory.layout });
    this.words = makeStepWords(step, this.#plan.buckets.length);
    this.#stepWords = new StepWords(this.words);
    const { signal } = this.#abort;
    this.#ready = new ReadyBuckets({
      ...{ words: this.#stepWords, step, over: signal },
      onReady: (ready, bucket) => {
        this.#clock.ready();
        this.#reduction.onReady(ready, bucket);
      },
    });
    const mount = (peer: number, theirs: SharedMemory): boolean => this.#mount(peer, theirs);
    const frames = (peer: number): BulkHandler => this.#framesOf(peer);
    const own = { runId, generation, rank, hostId, memory: sharedMemory, mount, frames };
    this.#links = new PeerLinks({ ...own, token, limits, maxMessageBytes: maxFrameBytes, impediment, signal });
    this.#lost = this.#makeLostPeers();
    this.#clock = new ReductionClock(setup.times);
    this.#reduction = this.#makeReduction();
    this.#boards = new Boards(this.#plan, memory, options.pages);
    this.#boards.clear();
    this.#transfer = new StateTransfer({
      generation: generation.generation,
      step,
      memory,
      optimizer,
      signal,
      pulse: options.pulse,
      send: (to, header, payload) => {
        this.#sendFrame(to, header, payload, () => undefined);
      },
    });
  }

  #makeReduction(): Reduction {
    const { setup, memory, entry, onCommit, pulse } = this.#options;
    return new Reduction({
      plan: this.#plan,
      memory,
      windows: this.#windows,
      optimizer: setup.optimizer,
      native: this.#options.pages,
      step: entry.generation.step,
      pulse,
      send: (to, header, payload, onSent) => {
        this.#sendFrame(to, header, payload, () => {
          this.#guard(onSent);
        });
      },
      onComplete: () => {
        this.#clock.complete();
      },
      onNotFinite: (step, found) => this.#onNotFinite(step, found),
      onCommit: (committed) => {
        this.#clock.committed();
        onCommit(committed + 1);
        this.#stepWords.markCommitted(committed);
      },
    });
  }

  #makeLostPeers(): LostPeers {
    const { limits, isAlone, flight } = this.#options;
    return new LostPeers({
      ...{ limits, isAlone },
      note: (message) => flight?.note('link-lost', message, this.generation),
      giveUp: (error) => {
        this.#fail(error);
      },
    });
  }

  /** Steps committed so far in the run. */
  get step(): number {
    return this.#inMemory ? this.#stepWords.numCommitted : this.#reduction.step;
  }

  get waiting(): string | null {
    return this.#inMemory ? this.#boards.waiting(this.step) : this.#reduction.waiting;
  }

  get generation(): number {
    return this.#plan.generation;
  }

  /** Whether steps are best reduced in memory: each peer reads ours, and we theirs, and nothing would go on beside it. */
  get prefersMemory(): boolean {
    const { isLocal, buckets, worldSize } = this.#plan;
    const overlaps = buckets.length > 1 && hasIdleCores(worldSize, this.#options.setup.computeThreads);
    const links = [...this.#links.links.values()];
    return isLocal && !overlaps && links.every(({ readsOurs, readsTheirs }) => readsOurs && readsTheirs);
  }

  /** Whether no worker of a lower rank is linked with this one. */
  get isFirst(): boolean {
    return [...this.#links.links].every(([rank, { connection }]) => rank > this.#plan.rank || !connection.isOpen);
  }

  /** How far the compute thread is with the step after those committed. */
  get stage(): StepWords['stage'] {
    return this.#stepWords.stage;
  }

  /** Resolves when every peer is connected; from then on they can send what they like. */
  async connect(): Promise<void> {
    await this.#links.connect();
    for (const [rank, { connection, readsOurs }] of this.#links.links) {
      if (readsOurs) this.#windows.readers.add(rank);
      this.#watch(rank, connection);
    }
  }

  /** Resolves when the memory holds the state that these ranks have; never, where the generation ends before. */
  async fetch(ranks: readonly number[]): Promise<void> {
    await this.#transfer.fetch(ranks);
  }

  /** From now on steps are taken as the compute thread makes them ready; `inMemory`: it takes them all by itself. */
  begin(inMemory: boolean): void {
    this.#inMemory = inMemory;
    if (inMemory) return;
    this.#ready.keepTaking().catch((error: unknown) => {
      this.#fail(error);
    });
  }

  /** Buckets may have become ready. */
  wake(): void {
    this.#guard(() => {
      this.#ready.take();
    });
  }

  /** Rank 0 of a sharded run: whether the region `gathered` holds a moment of a bucket; false: the generation ended before. */
  async gatherMoments(region: MomentRegion, bucket: number): Promise<boolean> {
    const { signal } = this.#abort;
    if (signal.aborted) return false;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        resolve(false);
      };
      signal.addEventListener('abort', end, { once: true });
      this.#reduction.gatherMoments(region, bucket).then(() => {
        signal.removeEventListener('abort', end);
        resolve(true);
      }, reject);
    });
  }

  async accept(connection: Connection): Promise<void> {
    await this.#links.accept(connection);
  }

  /** Nothing is committed any more, and the state stays as it is. Peers see it by `close` alone. */
  freeze(): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.#lost.close();
    clearTimeout(this.#naming);
    this.#stepWords.close(this.#options.pulse);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.freeze();
    this.#links.close();
    const { memory, pages, setup } = this.#options;
    if (pages && setup.sharedMemory) this.#windows.close({ memory, pages, own: setup.sharedMemory });
  }

  #mount(rank: number, theirs: SharedMemory): boolean {
    const { memory, pages, setup } = this.#options;
    if (!pages || !setup.sharedMemory || this.#abort.signal.aborted) return false;
    return this.#windows.open(rank, theirs, { plan: this.#plan, memory, pages });
  }

  #sendFrame(to: number, header: Uint8Array, payload: Uint8Array, onSent: () => void): void {
    const { flight } = this.#options;
    const number = flight?.frames.add('sent', to, header, clockMs()) ?? 0;
    this.#links.links.get(to)?.connection.sendBulk(header, payload, () => {
      flight?.frames.done(number, clockMs());
      onSent();
    });
  }

  #framesOf(rank: number): BulkHandler {
    return peerFrames(rank, {
      frames: this.#options.flight?.frames,
      reduction: this.#reduction,
      onWhole: () => {
        this.#clock.heard(rank);
      },
      guard: (action) => {
        this.#guard(action);
      },
      onState: (bytes) => {
        this.#transferFrame(rank, bytes);
      },
    });
  }

  #watch(rank: number, connection: Connection): void {
    void connection.closed.then(({ code, reason }) => {
      const worker = this.#options.entry.generation.workers[rank];
      if (worker && !this.#abort.signal.aborted) this.#lost.add(worker, this.step, reason || `code ${code}`);
    });
  }

  #transferFrame(rank: number, bytes: Uint8Array): void {
    if (this.#abort.signal.aborted) return;
    this.#transfer.onFrame(rank, bytes).catch((error: unknown) => {
      this.#fail(error);
    });
  }

  /** Whoever has the slot tells at once; the others give it the time, and tell what they know if nobody does. */
  #onNotFinite(step: number, found: NotFinite): 'stop' | 'skip' {
    const { setup, entry, onSkipped } = this.#options;
    if (setup.onNotFinite === 'skip') {
      const why = skippedText(step, found, entry.self.rank);
      if (why !== null) onSkipped(why);
      return 'skip';
    }
    const fail = (): void => {
      this.#fail(notFiniteError(step, found));
    };
    if (found.slot === null) this.#naming = setTimeout(fail, namingMs);
    else fail();
    return 'stop';
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
