/**
 * The all-reduce and the commit rule as a state machine, with no memory, socket or clock in it: the same events make the
 * same effects. It is told what has come and says what to do. What an event costs does not depend on the number of
 * buckets.
 *
 * A step is committed when this worker has made all its buckets ready, holds every sum or result, and everything that it
 * sent has left its memory. Only then is any parameter changed: until then, any step can be computed again.
 *
 * Live workers differ by at most one step, so a partial may be one step early. Its sender has committed our step, hence has
 * all that we sent it. If a chunk has an owner, its sender has our result, so we have summed and need its last partial no
 * more. Where all sum for themselves we may still wait for a third one: then early partials lie apart.
 */
import { LockstepError } from '../errors.js';
import type { AllReduceEffect, AllReduceEvent, FrameEvent, Place } from './events.js';
import type { AllReducePlan, Chunk, RoutedBucket } from './plan.js';
import { SquaresProgress } from './squares.js';

export interface ChunkProgress {
  /** Tree nodes whose partials have come. */
  arrived: Set<number>;
  /** Those of the next step that have come already. */
  early: Set<number>;
  /** All partials that come to this rank are here, and are summed where somebody waits for their sum. */
  summed: boolean;
  /** The sum, or what it takes to make it, is here. */
  done: boolean;
}

export interface BucketProgress {
  ready: boolean;
  readonly chunks: readonly ChunkProgress[];
}

export class AllReduce {
  readonly #plan: AllReducePlan;
  readonly #numChunks: number;
  readonly #buckets: readonly BucketProgress[];
  /** Frames that have not left, by rank. */
  readonly #unsent: number[];
  readonly #squares: SquaresProgress | null;
  #step: number;
  #numReady = 0;
  #numDone = 0;
  #numUnsent = 0;

  /** Before `step`, with nothing sent or received. */
  constructor(plan: AllReducePlan, step: number) {
    this.#plan = plan;
    this.#step = step;
    this.#numChunks = plan.buckets.reduce((sum, { chunks }) => sum + chunks.length, 0);
    this.#buckets = plan.buckets.map(({ chunks }) => ({ ready: false, chunks: chunks.map(freshProgress) }));
    this.#unsent = new Array<number>(plan.worldSize).fill(0);
    this.#squares = plan.sharesSquares ? new SquaresProgress(plan) : null;
  }

  /** The step that is not committed yet. */
  get step(): number {
    return this.#step;
  }

  /** For waiting.ts. */
  get buckets(): readonly BucketProgress[] {
    return this.#buckets;
  }

  get squares(): SquaresProgress | null {
    return this.#squares;
  }

  get numUnsent(): number {
    return this.#numUnsent;
  }

  /**
   * Refuses a frame that its sender cannot have sent, and changes nothing.
   *
   * @throws LockstepError ERR_PROTOCOL: a wrong step, bucket, chunk, node or rank, or twice
   */
  check(event: FrameEvent): void {
    if (event.type === 'partial') this.#checkPartial(event);
    else if (event.type === 'result') this.#checkResult(event);
    else this.#checkSquares(event);
  }

  /** What one event does: effects to be carried out in order. Frames are checked before. */
  take(event: AllReduceEvent): AllReduceEffect[] {
    const effects: AllReduceEffect[] = [];
    switch (event.type) {
      case 'ready':
        this.#onReady(event.step, event.bucket, effects);
        break;
      case 'partial':
        this.#onPartial(event, effects);
        break;
      case 'result':
        this.#finish(this.#at(event.bucket, event.chunk), effects);
        break;
      case 'squares':
        this.#squares?.onArrived(event.from, event.segment);
        this.#advanceIfKnown(effects);
        break;
      case 'sent':
        if (event.step === this.#step) this.#onSent(event.to, 1);
        break;
      case 'ahead':
        this.#onSent(event.from, this.#unsent[event.from] ?? 0);
        break;
    }
    this.#commitIfComplete(effects);
    return effects;
  }

  #checkPartial(event: Extract<AllReduceEvent, { type: 'partial' }>): void {
    const { from, step, node } = event;
    const { chunk, progress, isReady } = this.#at(event.bucket, event.chunk);
    if (chunk.route.partialsFrom.get(node) !== from) this.#refuse(`rank ${from} sent a partial of tree node ${node}`);
    if (step !== this.#step && step !== this.#step + 1) this.#refuse(`rank ${from} sent a partial of step ${step}`);
    const isEarly = step > this.#step;
    const hasOurs = hasRoomForEarly(this.#plan, chunk) ? isReady : progress.summed && chunk.owner !== null;
    if (isEarly && !hasOurs) this.#refuse(`rank ${from} sent a partial of step ${step} without our part of the last`);
    if ((isEarly ? progress.early : progress.arrived).has(node)) {
      this.#refuse(`the partial of tree node ${node} from rank ${from} came twice`);
    }
  }

  #checkResult(event: Extract<AllReduceEvent, { type: 'result' }>): void {
    const { from, step } = event;
    const { chunk, progress, isReady } = this.#at(event.bucket, event.chunk);
    if (step !== this.#step || !isReady) this.#refuse(`rank ${from} sent a result of step ${step}`);
    if (chunk.route.resultFrom !== from) this.#refuse(`rank ${from} sent a result of chunk ${chunk.index}`);
    if (chunk.route.isRelay && !progress.summed) this.#refuse(`rank ${from} sent a result without our partial`);
    if (progress.done) this.#refuse(`the result of chunk ${chunk.index} from rank ${from} came twice`);
  }

  #checkSquares({ from, step, segment }: Extract<AllReduceEvent, { type: 'squares' }>): void {
    const owns = (one: RoutedBucket): boolean => one.chunks.some(({ owner }) => owner === from);
    const hasOurs = this.#plan.buckets.every((one) => this.#buckets[one.index]?.ready === true || !owns(one));
    if (step !== this.#step || !hasOurs) this.#refuse(`rank ${from} sent squares of step ${step}`);
    if (!this.#squares?.isMissing(from, segment)) this.#refuse(`rank ${from} sent squares of segment ${segment}`);
  }

  #onReady(step: number, index: number, effects: AllReduceEffect[]): void {
    const progress = this.#buckets[index];
    const bucket = this.#plan.buckets[index];
    if (step !== this.#step || !progress || !bucket || progress.ready) {
      this.#refuse(`bucket ${index} was made ready for step ${step}`);
    }
    progress.ready = true;
    this.#numReady++;
    const { chunks } = bucket;
    for (const [turn] of chunks.entries()) {
      // The next rank's chunk first, as in `partialsTo`.
      const chunk = chunks[(turn + this.#plan.rank + 1) % chunks.length];
      if (chunk && !chunk.route.isRelay) this.#sendPartials({ bucket, chunk }, effects);
    }
    for (const { index: chunk } of chunks) this.#sumIfComplete(this.#at(index, chunk), effects);
  }

  #onPartial(event: Extract<AllReduceEvent, { type: 'partial' }>, effects: AllReduceEffect[]): void {
    const at = this.#at(event.bucket, event.chunk);
    if (event.step > this.#step) {
      at.progress.early.add(event.node);
      return;
    }
    at.progress.arrived.add(event.node);
    this.#sumIfComplete(at, effects);
  }

  #sumIfComplete(at: Located, effects: AllReduceEffect[]): void {
    const { chunk, progress } = at;
    const { partialsFrom, resultFrom, isRelay } = chunk.route;
    if ((resultFrom !== null && !isRelay) || !at.isReady || progress.arrived.size < partialsFrom.size) return;
    progress.summed = true;
    if (isRelay) {
      effects.push({ type: 'combine', bucket: at.bucket, chunk });
      this.#sendPartials(at, effects);
      return;
    }
    if (chunk.owner !== null) effects.push({ type: 'sum', bucket: at.bucket, chunk });
    if (this.#squares) this.#tellSquares(this.#squares, effects);
    else this.#finish(at, effects);
  }

  /** A chunk that this rank owns is summed. */
  #tellSquares(squares: SquaresProgress, effects: AllReduceEffect[]): void {
    const { rank, worldSize } = this.#plan;
    const to = Array.from({ length: worldSize - 1 }, (_, i) => (rank + 1 + i) % worldSize);
    for (const segment of squares.onSummed()) {
      effects.push({ type: 'send-squares', to, segment });
      this.#countUnsent(to);
    }
    this.#advanceIfKnown(effects);
  }

  #advanceIfKnown(effects: AllReduceEffect[]): void {
    if (!this.#squares?.isComplete) return;
    effects.push({ type: 'norm' });
    for (const { index, chunks } of this.#plan.buckets) {
      for (const chunk of chunks) {
        if (chunk.owner !== this.#plan.rank) continue;
        const at = this.#at(index, chunk.index);
        effects.push({ type: 'advance', bucket: at.bucket, chunk });
        this.#finish(at, effects);
      }
    }
  }

  #finish({ bucket, chunk, progress }: Located, effects: AllReduceEffect[]): void {
    progress.done = true;
    this.#numDone++;
    effects.push({ type: 'complete', bucket, chunk });
    const { resultTo: to } = chunk.route;
    if (to.length === 0) return;
    effects.push({ type: 'send-result', to, bucket, chunk });
    this.#countUnsent(to);
  }

  #sendPartials({ bucket, chunk }: Place, effects: AllReduceEffect[]): void {
    const { partialsTo: to, nodes } = chunk.route;
    if (to.length === 0) return;
    for (const node of nodes) {
      effects.push({ type: 'send-partial', to, bucket, chunk, node });
      this.#countUnsent(to);
    }
  }

  #countUnsent(to: readonly number[]): void {
    for (const rank of to) this.#unsent[rank] = (this.#unsent[rank] ?? 0) + 1;
    this.#numUnsent += to.length;
  }

  #onSent(to: number, count: number): void {
    // Where the peer's next frame told it before, the socket tells it again.
    const left = Math.min(count, this.#unsent[to] ?? 0);
    this.#unsent[to] = (this.#unsent[to] ?? 0) - left;
    this.#numUnsent -= left;
  }

  #commitIfComplete(effects: AllReduceEffect[]): void {
    const isComplete = this.#numReady === this.#buckets.length && this.#numDone === this.#numChunks;
    if (!isComplete || this.#squares?.isComplete === false || this.#numUnsent > 0) return;
    effects.push({ type: 'commit', step: this.#step });
    this.#squares?.beginNext();
    this.#step++;
    this.#numReady = 0;
    this.#numDone = 0;
    for (const bucket of this.#buckets) {
      bucket.ready = false;
      for (const progress of bucket.chunks) beginNext(progress);
    }
  }

  #at(bucketIndex: number, chunkIndex: number): Located {
    const bucket = this.#plan.buckets[bucketIndex];
    const bucketProgress = this.#buckets[bucketIndex];
    if (!bucket || !bucketProgress) this.#refuse(`bucket ${bucketIndex} of ${this.#buckets.length} was named`);
    const chunk = bucket.chunks[chunkIndex];
    const progress = bucketProgress.chunks[chunkIndex];
    if (!chunk || !progress) this.#refuse(`chunk ${chunkIndex} of ${bucket.chunks.length} was named`);
    return { bucket, chunk, progress, isReady: bucketProgress.ready };
  }

  #refuse(found: string): never {
    const { rank, generation } = this.#plan;
    throw new LockstepError(
      'ERR_PROTOCOL',
      `All-reduce: ${found}, which rank ${rank} cannot take at step ${this.#step} of generation ${generation}.`,
    );
  }
}

interface Located extends Place {
  readonly progress: ChunkProgress;
  readonly isReady: boolean;
}

/** Whether partials of the next step have a place of their own: where a third rank may be late with this step's. */
export function hasRoomForEarly({ worldSize }: AllReducePlan, { owner }: Chunk): boolean {
  return owner === null && worldSize > 2;
}

function freshProgress(): ChunkProgress {
  return { arrived: new Set(), early: new Set(), summed: false, done: false };
}

function beginNext(progress: ChunkProgress): void {
  const { arrived, early } = progress;
  arrived.clear();
  progress.arrived = early;
  progress.early = arrived;
  progress.summed = false;
  progress.done = false;
}
