/** Where in memory the payload of a frame of a step belongs, if its sender can have sent it. */
import type { AllReduce } from '../../src/collective/all-reduce.js';
import type { FrameEvent } from '../../src/collective/events.js';
import { partialPayload, payloadBytes, resultPayload } from '../../src/collective/payload.js';
import type { AllReducePlan } from '../../src/collective/plan.js';
import { assert, LockstepError } from '../../src/errors.js';
import type { FrameHeader } from '../../src/protocol/frame.js';
import { isMomentFrame, type Moments } from './moments.js';
import type { Places } from './places.js';
import type { Squares } from './squares.js';
import type { Windows } from './windows.js';

/** In bytes, from the start of a segment's memory. */
export interface FramePlace {
  readonly segment: number;
  readonly address: number;
}

export interface FramePlacesOptions {
  readonly plan: AllReducePlan;
  readonly machine: AllReduce;
  readonly windows: Windows;
  readonly places: Places;
  readonly squares: Squares;
  readonly moments: Moments;
}

export class FramePlaces {
  readonly #options: FramePlacesOptions;

  constructor(options: FramePlacesOptions) {
    this.#options = options;
  }

  /** @throws LockstepError ERR_PROTOCOL where the peer cannot have sent it */
  of(from: number, header: FrameHeader): FramePlace {
    const { machine, moments, squares } = this.#options;
    if (isMomentFrame(header)) {
      const { bucket, address, numBytes } = moments.place(from, header);
      return placed(header, bucket.segment, address, numBytes);
    }
    machine.check(eventOf(from, header));
    if (header.kind !== 'squares') return this.#ofChunk(from, header);
    const { address, numBytes } = squares.share(from, header.bucket);
    return placed(header, header.bucket, address, numBytes);
  }

  #ofChunk(from: number, header: FrameHeader): FramePlace {
    const { plan, windows, places } = this.#options;
    const bucket = plan.buckets[header.bucket];
    const chunk = bucket?.chunks[header.chunk];
    assert(bucket && chunk, 'the machine refuses what there is not');
    const isPartial = header.kind === 'partial';
    const payload = isPartial ? partialPayload(plan, bucket, chunk, header.node) : resultPayload(plan, bucket, chunk);
    if (header.inPlace && !(chunk.onPages && windows.reads(from))) {
      const message = `Rank ${from} sent a frame of bucket ${header.bucket} without its bytes, and its memory cannot be read here.`;
      throw new LockstepError('ERR_PROTOCOL', message);
    }
    const inbox = (): number | undefined => places.inbox(bucket, chunk, header.node, header.step);
    const address = isPartial ? inbox() : places.result(bucket, chunk);
    assert(address !== undefined, 'the machine refuses what is not sent to this rank');
    return placed(header, bucket.segment, address, header.inPlace ? 0 : payloadBytes(payload));
  }
}

export function eventOf(from: number, { kind, step, bucket, chunk, node }: FrameHeader): FrameEvent {
  if (kind === 'squares') return { type: kind, from, step, segment: bucket };
  const type = kind === 'result' ? kind : 'partial';
  return { type, from, step, bucket, chunk, node };
}

export function wrongLength({ bucket }: FrameHeader, found: number, expected: number): LockstepError {
  return new LockstepError(
    'ERR_PROTOCOL',
    `A frame of bucket ${bucket} carries ${found} bytes; the chunk has ${expected}.`,
  );
}

function placed(header: FrameHeader, segment: number, address: number, expected: number): FramePlace {
  if (header.payloadBytes !== expected) throw wrongLength(header, header.payloadBytes, expected);
  return { segment, address };
}
