/**
 * Carries out what the all-reduce machine decides, on the shared memory and the links: sums, sends, takes frames in, and
 * applies the optimizer. It decides nothing itself.
 */
import { AllReduce } from '../../src/collective/all-reduce.js';
import type { AllReduceEffect, AllReduceEvent } from '../../src/collective/events.js';
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { partialPayload, payloadBytes, resultPayload } from '../../src/collective/payload.js';
import { waiting } from '../../src/collective/waiting.js';
import { LockstepError } from '../../src/errors.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { sharedRegions, type MomentRegion } from '../../src/optimizer/optimizer.js';
import { decodeFrameHeader, type FrameHeader } from '../../src/protocol/frame.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { Finiteness, type NotFinite } from './finiteness.js';
import { checksumState } from './regions.js';
import { IncomingFrame } from './incoming-frame.js';
import { isMomentFrame, Moments } from './moments.js';
import { eventOf, FramePlaces, wrongLength, type FramePlace } from './frame-places.js';
import { OutgoingFrames, type SendFrame } from './outgoing-frames.js';
import { Places } from './places.js';
import { Squares } from './squares.js';
import { Sums } from './sums.js';
import { Update, type UpdateOptions } from './update.js';
import type { Windows } from './windows.js';

export interface ReductionOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  /** On the memory of peers; those that open later count from then on. */
  readonly windows: Windows;
  readonly optimizer: OptimizerConfig;
  /** @default nothing */
  readonly native?: UpdateOptions['native'];
  readonly step: number;
  readonly send: SendFrame;
  /** All results of the step are here, and nothing is updated yet. @default nobody is told */
  readonly onComplete?: () => void;
  /** What the step would apply is not finite. `stop`: it is never committed; `skip`: it is, and changes nothing. */
  readonly onNotFinite: (step: number, found: NotFinite) => 'stop' | 'skip';
  readonly onCommit: (step: number) => void;
  /** Called again and again in long work. @default nobody is told */
  readonly pulse?: () => void;
}

export class Reduction {
  readonly #options: ReductionOptions;
  readonly #machine: AllReduce;
  readonly #places: Places;
  readonly #sums: Sums;
  readonly #update: Update;
  readonly #moments: Moments;
  readonly #squares: Squares;
  readonly #finiteness: Finiteness;
  readonly #framePlaces: FramePlaces;
  readonly #outgoing: OutgoingFrames;
  /** All results of the step that are here. */
  #isFinite = true;
  /** Where squares are shared: what the step's gradient is multiplied by. */
  #scale = 1;
  /** By rank; null where nothing comes in, or what does is dropped. */
  readonly #incoming: (IncomingFrame | null)[] = [];
  /** The first one is being carried out. */
  readonly #events: AllReduceEvent[] = [];

  constructor(options: ReductionOptions) {
    const { plan, memory, windows, optimizer, native, step, pulse, send } = options;
    this.#options = options;
    this.#machine = new AllReduce(plan, step);
    this.#places = new Places(plan, memory);
    this.#sums = new Sums(plan, memory, this.#places);
    this.#finiteness = new Finiteness(plan, memory, this.#sums);
    this.#squares = new Squares({ plan, memory, places: this.#places, sums: this.#sums });
    this.#outgoing = new OutgoingFrames({ plan, memory, windows, send });
    this.#moments = new Moments({
      plan,
      memory,
      places: this.#places,
      regions: sharedRegions(optimizer),
      send: (to, bucket, what, content) => {
        this.#outgoing.send([to], bucket, { ...what, step: this.step }, content, () => undefined);
      },
    });
    this.#framePlaces = new FramePlaces({
      ...{ plan, windows, machine: this.#machine },
      ...{ places: this.#places, squares: this.#squares, moments: this.#moments },
    });
    this.#update = new Update({ plan, memory, optimizer, places: this.#places, sums: this.#sums, native, pulse });
  }

  /** The step that is not committed yet, counted from 0. */
  get step(): number {
    return this.#machine.step;
  }

  /** Why it is not committed. */
  get waiting(): string | null {
    return waiting(this.#options.plan, this.#machine);
  }

  /** The gradients of this worker's slots are in shared memory, those of one bucket; buckets come in any order. */
  onReady(step: number, index: number): void {
    const bucket = this.#options.plan.buckets[index];
    if (bucket) this.#sums.prepare(bucket);
    this.#take({ type: 'ready', step, bucket: index });
  }

  /** Rank 0, sharded: resolves when the region `gathered` holds a moment of a bucket, after the last step committed. */
  async gatherMoments(region: MomentRegion, bucket: number): Promise<void> {
    await this.#moments.gather(region, bucket);
  }

  /**
   * A bulk frame from a peer begins: where its payload of `numBytes` belongs, and is written from now on; null where its
   * generation is over.
   *
   * @throws LockstepError ERR_PROTOCOL where the peer cannot have sent it; ERR_FRAME_CORRUPT
   */
  begin(from: number, bytes: Uint8Array, numBytes: number): Uint8Array | null {
    this.#incoming[from] = null;
    const header = decodeFrameHeader(bytes);
    const place = this.#place(from, header);
    if (!place) return null;
    if (numBytes !== header.payloadBytes) throw wrongLength(header, numBytes, header.payloadBytes);
    const { segment, address } = place;
    const { memory } = this.#options;
    const state = checksumState(memory, segment, from);
    this.#incoming[from] = new IncomingFrame(header, { kernels: memory.kernels(segment), address, state });
    return memory.bytes(segment, address, numBytes);
  }

  /** So many more bytes of the payload are there. */
  progress(from: number, numBytes: number): void {
    this.#incoming[from]?.progress(numBytes);
  }

  /** All of the payload is there. @throws LockstepError ERR_FRAME_CORRUPT */
  end(from: number): void {
    const frame = this.#incoming[from];
    if (!frame) return;
    this.#incoming[from] = null;
    const { header } = frame;
    if (!frame.isIntact) {
      const message = `A frame of bucket ${header.bucket}, step ${header.step}, does not match its checksum.`;
      throw new LockstepError('ERR_FRAME_CORRUPT', message);
    }
    if (isMomentFrame(header)) this.#moments.onPlaced(from, header);
    else this.#take(eventOf(from, header));
  }

  /**
   * Where the payload belongs of a frame that begins to come in; null where its generation is over.
   *
   * @throws LockstepError ERR_PROTOCOL where the peer cannot have sent it
   */
  #place(from: number, header: FrameHeader): FramePlace | null {
    const { generation } = this.#options.plan;
    if (header.generation < generation) return null;
    if (header.generation > generation) {
      throw new LockstepError(
        'ERR_PROTOCOL',
        `Rank ${from} sent a frame of generation ${header.generation}; this is ${generation}.`,
      );
    }
    if (header.step === this.step + 1) this.#take({ type: 'ahead', from });
    return this.#framePlaces.of(from, header);
  }

  /** One event after the other: what is sent at once makes the next event while this one's effects are carried out. */
  #take(event: AllReduceEvent): void {
    this.#events.push(event);
    if (this.#events.length > 1) return;
    try {
      for (let next: AllReduceEvent | undefined = event; next; next = this.#events[0]) {
        const { step } = this;
        this.#options.pulse?.();
        for (const effect of this.#machine.take(next)) this.#perform(effect, step);
        this.#events.shift();
      }
    } finally {
      this.#events.length = 0;
    }
  }

  #perform(effect: AllReduceEffect, step: number): void {
    switch (effect.type) {
      case 'send-partial': {
        const { to, bucket, chunk, node } = effect;
        const numBytes = payloadBytes(partialPayload(this.#options.plan, bucket, chunk, node.id));
        const address = this.#sums.toSend(bucket, chunk, node);
        const what = { kind: 'partial', step, node: node.id } as const;
        this.#outgoing.sendChunk(to, bucket, chunk, what, { address, numBytes }, this.#onSent(step));
        break;
      }
      case 'sum': {
        const { bucket, chunk } = effect;
        this.#sums.sum(bucket, chunk, step);
        const { isSharded, sharesSquares } = this.#options.plan;
        if (sharesSquares) this.#squares.take(bucket, chunk, this.#finiteness.isFinite(bucket, chunk, step));
        else if (isSharded) this.#advance(bucket, chunk, step);
        break;
      }
      case 'send-squares': {
        const { to, segment } = effect;
        const what = { kind: 'squares', step, chunk: 0, node: 0 } as const;
        const content = this.#squares.share(this.#options.plan.rank, segment);
        this.#outgoing.send(to, { index: segment, segment }, what, content, this.#onSent(step));
        break;
      }
      case 'norm':
        this.#takeNorm(this.#squares.norm());
        break;
      case 'advance':
        if (this.#isFinite) this.#update.advance(effect.bucket, effect.chunk, step, this.#scale);
        break;
      case 'complete':
        // What has come where squares are shared is of sums that are known to be finite.
        if (this.#options.plan.sharesSquares) break;
        this.#isFinite &&= this.#finiteness.isFinite(effect.bucket, effect.chunk, step);
        break;
      case 'combine':
        this.#sums.combine(effect.bucket, effect.chunk, step);
        break;
      case 'send-result': {
        const { to, bucket, chunk } = effect;
        const numBytes = payloadBytes(resultPayload(this.#options.plan, bucket, chunk));
        const address = this.#places.result(bucket, chunk);
        const what = { kind: 'result', step, node: 0 } as const;
        this.#outgoing.sendChunk(to, bucket, chunk, what, { address, numBytes }, this.#onSent(step));
        break;
      }
      case 'commit':
        this.#commit(effect.step);
        break;
    }
  }

  /** The sum itself goes to all where it is not finite, so that all see it. */
  #advance(bucket: RoutedBucket, chunk: Chunk, step: number): void {
    if (this.#finiteness.isFinite(bucket, chunk, step)) this.#update.advance(bucket, chunk, step);
  }

  /** Of the whole gradient: everybody has the same, and either all go on with it or nobody does. */
  #takeNorm(norm: number): void {
    this.#isFinite = Number.isFinite(norm);
    this.#scale = this.#update.scaleOf(norm);
  }

  #commit(step: number): void {
    const { onComplete, onNotFinite, onCommit } = this.#options;
    onComplete?.();
    if (this.#isFinite) this.#update.apply(step);
    else if (onNotFinite(step, this.#finiteness.find(step)) === 'stop') return;
    else this.#update.skip(step);
    this.#isFinite = true;
    onCommit(step);
  }

  #onSent(step: number): (to: number) => void {
    return (to) => {
      this.#take({ type: 'sent', to, step });
    };
  }
}
