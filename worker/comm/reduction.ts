/**
 * Carries out what the all-reduce machine decides, on the shared memory and the links: sums, sends, takes frames in, and
 * applies the optimizer. It decides nothing itself.
 */
import { AllReduce, type AllReduceEffect, type AllReduceEvent } from '../../src/collective/all-reduce.js';
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { waiting } from '../../src/collective/waiting.js';
import { assert, LockstepError } from '../../src/errors.js';
import { checksumOf, checksumStateBytes } from '../../src/kernels/kernels.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { decodeFrameHeader, encodeFrameHeader, frameHeaderBytes, type FrameHeader } from '../../src/protocol/frame.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { CHECKSUMS } from './regions.js';
import { Partials } from './partials.js';
import { Update } from './update.js';

const floatBytes = 4;

/**
 * Sends one bulk frame to a rank. `onSent` is called, later, when the payload has left this process's memory; never, if it
 * cannot leave it.
 */
export type SendFrame = (to: number, header: Uint8Array, payload: Uint8Array, onSent: () => void) => void;

/** In bytes, from the start of a segment's memory. */
export interface FramePlace {
  readonly segment: number;
  readonly address: number;
}

export interface ReductionOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly optimizer: OptimizerConfig;
  readonly step: number;
  readonly send: SendFrame;
  readonly onCommit: (step: number) => void;
}

export class Reduction {
  readonly #options: ReductionOptions;
  readonly #machine: AllReduce;
  readonly #partials: Partials;
  readonly #update: Update;

  constructor(options: ReductionOptions) {
    const { plan, memory, optimizer, step } = options;
    this.#options = options;
    this.#machine = new AllReduce(plan, step);
    this.#partials = new Partials(plan, memory);
    this.#update = new Update({ plan, memory, optimizer, partials: this.#partials });
  }

  /** The step that is not committed yet, counted from 0. */
  get step(): number {
    return this.#machine.step;
  }

  /** Why it is not committed. */
  get waiting(): string | null {
    return waiting(this.#options.plan, this.#machine);
  }

  /** The gradients of this worker's slots are in shared memory, those of all buckets. */
  onReady(step: number): void {
    for (const { index } of this.#options.plan.buckets) this.onBucketReady(step, index);
  }

  /** Those of one bucket are; the buckets of a step come in any order. */
  onBucketReady(step: number, index: number): void {
    const bucket = this.#options.plan.buckets[index];
    if (bucket) this.#partials.fillOutbox(bucket);
    this.#take({ type: 'ready', step, bucket: index });
  }

  /** One bulk frame from a peer, in pieces. A frame of an older generation is dropped. */
  onFrame(from: number, fragments: readonly Uint8Array[]): void {
    const { header, payload } = splitFrame(fragments);
    const place = this.place(from, header);
    if (!place) return;
    const { segment, address } = place;
    this.#copyIn(header, payload, place);
    if (this.#checksum(segment, from, address, header.payloadBytes) !== header.checksum) {
      const message = `A frame of bucket ${header.bucket}, step ${header.step}, does not match its checksum.`;
      throw new LockstepError('ERR_FRAME_CORRUPT', message);
    }
    this.onPlaced(from, header);
  }

  /**
   * Where the payload belongs of a frame that begins to come in; null where its generation is over.
   *
   * @throws LockstepError ERR_PROTOCOL where the peer cannot have sent it
   */
  place(from: number, header: FrameHeader): FramePlace | null {
    const { plan } = this.#options;
    const { generation } = plan;
    if (header.generation < generation) return null;
    if (header.generation > generation) {
      throw new LockstepError(
        'ERR_PROTOCOL',
        `Rank ${from} sent a frame of generation ${header.generation}; this is ${generation}.`,
      );
    }
    if (header.step === this.step + 1) this.#take({ type: 'ahead', from });
    this.#machine.check(eventOf(from, header));
    const bucket = plan.buckets[header.bucket];
    const chunk = bucket?.chunks[header.chunk];
    assert(bucket && chunk, 'the machine refuses what there is not');
    const expected = chunk.elements * floatBytes;
    if (header.payloadBytes !== expected) throw wrongLength(header, header.payloadBytes, expected);
    const address =
      header.kind === 'partial'
        ? this.#partials.inboxAddress(bucket, chunk, header.node, header.step)
        : this.#partials.resultAddress(bucket, chunk);
    return { segment: bucket.segment, address };
  }

  /** The payload lies where it belongs, and matches its checksum. */
  onPlaced(from: number, header: FrameHeader): void {
    this.#take(eventOf(from, header));
  }

  #take(event: AllReduceEvent): void {
    const { step } = this;
    for (const effect of this.#machine.take(event)) this.#perform(effect, step);
  }

  #perform(effect: AllReduceEffect, step: number): void {
    switch (effect.type) {
      case 'send-partial': {
        const { to, bucket, chunk, node } = effect;
        const address = this.#partials.sentAddress(bucket, chunk, node);
        this.#send(to, { kind: 'partial', step, node: node.id }, bucket, chunk, address);
        break;
      }
      case 'sum':
        this.#partials.sum(effect.bucket, effect.chunk, step);
        break;
      case 'combine':
        this.#partials.combine(effect.bucket, effect.chunk, step);
        break;
      case 'send-result': {
        const { to, bucket, chunk } = effect;
        this.#send(to, { kind: 'result', step, node: 0 }, bucket, chunk, this.#partials.resultAddress(bucket, chunk));
        break;
      }
      case 'commit':
        this.#update.apply(effect.step);
        this.#options.onCommit(effect.step);
        break;
    }
  }

  /** To several ranks alike, so that the checksum is worked out once. */
  #send(
    to: readonly number[],
    what: Pick<FrameHeader, 'kind' | 'step' | 'node'>,
    { index: bucket, segment }: RoutedBucket,
    { index: chunk, elements }: Chunk,
    address: number,
  ): void {
    const { memory, plan, send } = this.#options;
    const payloadBytes = elements * floatBytes;
    const checksum = this.#checksum(segment, plan.rank, address, payloadBytes);
    const { generation } = plan;
    const header = encodeFrameHeader({ ...what, generation, bucket, chunk, payloadBytes, checksum });
    const payload = memory.bytes(segment, address, payloadBytes);
    for (const rank of to) {
      send(rank, header, payload, () => {
        this.#take({ type: 'sent', to: rank, step: what.step });
      });
    }
  }

  #copyIn(header: FrameHeader, payload: readonly Uint8Array[], { segment, address }: FramePlace): void {
    const expected = header.payloadBytes;
    const found = payload.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (found !== expected) throw wrongLength(header, found, expected);
    const target = this.#options.memory.bytes(segment, address, expected);
    let written = 0;
    for (const piece of payload) {
      target.set(piece, written);
      written += piece.byteLength;
    }
  }

  #checksum(segment: number, rank: number, address: number, numBytes: number): number {
    const { memory } = this.#options;
    const state = memory.address(CHECKSUMS, segment) + rank * checksumStateBytes;
    return checksumOf(memory.kernels(segment), state, address, numBytes);
  }
}

function eventOf(from: number, header: FrameHeader): Extract<AllReduceEvent, { type: 'partial' | 'result' }> {
  const { kind: type, step, bucket, chunk, node } = header;
  return { type, from, step, bucket, chunk, node };
}

function wrongLength({ bucket }: FrameHeader, found: number, expected: number): LockstepError {
  return new LockstepError(
    'ERR_PROTOCOL',
    `A frame of bucket ${bucket} carries ${found} bytes; the chunk has ${expected}.`,
  );
}

/** The header off the front of a frame, however the frame was cut into pieces. */
function splitFrame(fragments: readonly Uint8Array[]): { header: FrameHeader; payload: readonly Uint8Array[] } {
  const [first, ...rest] = fragments;
  if (first?.byteLength === frameHeaderBytes) return { header: decodeFrameHeader(first), payload: rest };
  const whole = Buffer.concat(fragments);
  const header = decodeFrameHeader(whole.subarray(0, frameHeaderBytes));
  return { header, payload: [whole.subarray(frameHeaderBytes)] };
}
