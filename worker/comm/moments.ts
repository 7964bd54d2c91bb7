/**
 * Moments of a sharded optimizer on their way to rank 0, which writes them into a checkpoint: it asks the owners of a
 * bucket's chunks, and each answers from its memory. Rank 0 asks between steps. No owner changes a moment meanwhile: it
 * takes no step without the partials of rank 0.
 */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { trainableIn } from '../../src/collective/payload.js';
import { assert, LockstepError } from '../../src/errors.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { FrameHeader } from '../../src/protocol/frame.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { floatBytes, type Places } from './places.js';
import { GATHERED } from './regions.js';

/** A frame that asks for moments, or carries them. */
export type MomentFrame = FrameHeader & { readonly kind: 'moment-request' | 'moment' };

export function isMomentFrame(header: FrameHeader): header is MomentFrame {
  return header.kind === 'moment-request' || header.kind === 'moment';
}

export interface MomentsOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly places: Places;
  /** The moments that the optimizer keeps. */
  readonly regions: readonly MomentRegion[];
  readonly send: (
    to: number,
    bucket: RoutedBucket,
    what: Pick<FrameHeader, 'kind' | 'chunk' | 'node'>,
    content: { readonly address: number; readonly numBytes: number },
  ) => void;
}

interface Gathering {
  readonly bucket: RoutedBucket;
  readonly node: number;
  /** Places of the chunks that have not come. */
  readonly missing: Set<number>;
  readonly finish: () => void;
}

export class Moments {
  readonly #options: MomentsOptions;
  #gathering: Gathering | null = null;

  constructor(options: MomentsOptions) {
    this.#options = options;
  }

  /** Resolves when the region `gathered` holds one moment of the bucket's trainable elements. One at a time. */
  async gather(region: MomentRegion, bucketIndex: number): Promise<void> {
    const { plan, regions, send } = this.#options;
    const bucket = plan.buckets[bucketIndex];
    assert(bucket && plan.isSharded && !this.#gathering, `bucket ${bucketIndex} cannot be gathered now`);
    const node = regions.indexOf(region) + 1;
    const chunks = bucket.chunks.filter((chunk) => trainableIn(bucket, chunk) > 0);
    const remote = chunks.filter(({ owner }) => owner !== plan.rank);
    for (const chunk of chunks) if (chunk.owner === plan.rank) this.#copyOwn(region, bucket, chunk);
    if (remote.length === 0) return;
    await new Promise<void>((finish) => {
      this.#gathering = { bucket, node, missing: new Set(remote.map(({ index }) => index)), finish };
      for (const { index, owner } of remote) {
        const content = { address: this.#landing(bucket, bucket.offset), numBytes: 0 };
        if (owner !== null) send(owner, bucket, { kind: 'moment-request', chunk: index, node }, content);
      }
    });
    this.#gathering = null;
  }

  /**
   * Where the payload of such a frame belongs: its address, and its length in bytes.
   *
   * @throws LockstepError ERR_PROTOCOL where it was not asked for, or asks for what is not here
   */
  place(from: number, header: MomentFrame): { readonly bucket: RoutedBucket; address: number; numBytes: number } {
    const { plan, places } = this.#options;
    const bucket = plan.buckets[header.bucket];
    const chunk = bucket?.chunks[header.chunk];
    const region = this.#options.regions[header.node - 1];
    if (bucket && chunk && region) {
      if (header.kind === 'moment-request' && plan.isSharded && chunk.owner === plan.rank) {
        return { bucket, address: places.moment(region, bucket, chunk.offset), numBytes: 0 };
      }
      const asked = this.#gathering;
      const isAsked = asked?.bucket === bucket && asked.node === header.node && asked.missing.has(chunk.index);
      if (header.kind === 'moment' && isAsked && chunk.owner === from) {
        const numBytes = trainableIn(bucket, chunk) * floatBytes;
        return { bucket, address: this.#landing(bucket, chunk.offset), numBytes };
      }
    }
    const what = `moment ${header.node} of chunk ${header.chunk} of bucket ${header.bucket}`;
    throw new LockstepError(
      'ERR_PROTOCOL',
      `Rank ${from} sent a ${header.kind} of ${what}, which rank ${plan.rank} cannot take.`,
    );
  }

  /** The payload lies there. */
  onPlaced(from: number, header: MomentFrame): void {
    if (header.kind === 'moment') {
      this.#gathering?.missing.delete(header.chunk);
      if (this.#gathering?.missing.size === 0) this.#gathering.finish();
      return;
    }
    const { plan, send } = this.#options;
    const bucket = plan.buckets[header.bucket];
    const chunk = bucket?.chunks[header.chunk];
    assert(bucket && chunk, 'place() refuses what there is not');
    const { address } = this.place(from, header);
    const numBytes = trainableIn(bucket, chunk) * floatBytes;
    send(from, bucket, { kind: 'moment', chunk: header.chunk, node: header.node }, { address, numBytes });
  }

  #copyOwn(region: MomentRegion, bucket: RoutedBucket, chunk: Chunk): void {
    const { memory, places } = this.#options;
    const numBytes = trainableIn(bucket, chunk) * floatBytes;
    const source = memory.bytes(bucket.segment, places.moment(region, bucket, chunk.offset), numBytes);
    memory.bytes(bucket.segment, this.#landing(bucket, chunk.offset), numBytes).set(source);
  }

  /** Where elements of the bucket from `offset` on are gathered. */
  #landing({ segment, offset: start }: RoutedBucket, offset: number): number {
    return this.#options.places.address(GATHERED, segment, offset - start);
  }
}
