/**
 * Moments of a sharded optimizer on their way to rank 0, which writes them into a checkpoint: what worker/comm/moments.ts does. Rank 0
 * asks between two steps, for one bucket after the other.
 */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../../src/collective/plan.js';
import type { Elements, Memory } from './memory.js';
import type { Bulk } from './network.js';

export type MomentFrame =
  | { readonly type: 'moment-request'; readonly bucket: number; readonly chunk: number }
  | { readonly type: 'moment'; readonly bucket: number; readonly chunk: number; readonly values: Float32Array };

export interface MomentsOptions {
  readonly plan: AllReducePlan;
  readonly memory: Memory;
  readonly send: (to: number, bulk: Bulk<MomentFrame>) => void;
}

interface Gathering {
  readonly moments: Float32Array;
  /** Of the bucket that is asked for. */
  readonly missing: Set<Chunk>;
  readonly onEnd: (moments: Float32Array | null) => void;
}

export class Moments {
  readonly #options: MomentsOptions;
  #gathering: Gathering | null = null;

  constructor(options: MomentsOptions) {
    this.#options = options;
  }

  /** What this rank alone holds; null: moments are not shared out. */
  get owned(): Elements[] | null {
    const { isSharded, rank, buckets } = this.#options.plan;
    return isSharded ? buckets.flatMap(({ chunks }) => chunks.filter(({ owner }) => owner === rank)) : null;
  }

  /** Tells all moments, after the last step committed; null: the generation has ended before. One at a time. */
  gather(onEnd: (moments: Float32Array | null) => void): void {
    const moments = this.#options.memory.state.moments.slice();
    this.#gathering = { moments, missing: new Set(), onEnd };
    this.#ask(0);
  }

  onFrame(from: number, frame: MomentFrame): void {
    const { plan, memory, send } = this.#options;
    const { bucket, chunk } = frame;
    const asked = plan.buckets[bucket]?.chunks[chunk];
    if (!asked) throw new Error('Nobody asks for what there is not.');
    if (frame.type === 'moment-request') {
      const { offset, elements } = asked;
      const make = (): MomentFrame => {
        return { type: 'moment', bucket, chunk, values: memory.state.moments.slice(offset, offset + elements) };
      };
      send(from, { make, onSent: () => undefined });
      return;
    }
    const { moments, missing } = this.#gathering ?? {};
    moments?.set(frame.values, asked.offset);
    if (missing?.delete(asked) === true && missing.size === 0) this.#ask(bucket + 1);
  }

  close(): void {
    this.#end(null);
  }

  /** From this bucket on: those that are all here already need no asking. */
  #ask(first: number): void {
    const { rank, buckets } = this.#options.plan;
    const remoteOf = ({ chunks }: RoutedBucket): Chunk[] =>
      chunks.filter(({ owner }) => owner !== null && owner !== rank);
    const bucket = buckets.slice(first).find((one) => remoteOf(one).length > 0);
    if (!bucket) {
      this.#end(this.#gathering?.moments ?? null);
      return;
    }
    for (const chunk of remoteOf(bucket)) {
      this.#gathering?.missing.add(chunk);
      const make = (): MomentFrame => ({ type: 'moment-request', bucket: bucket.index, chunk: chunk.index });
      if (chunk.owner !== null) this.#options.send(chunk.owner, { make, onSent: () => undefined });
    }
  }

  #end(moments: Float32Array | null): void {
    const ended = this.#gathering;
    this.#gathering = null;
    ended?.onEnd(moments);
  }
}
