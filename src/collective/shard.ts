/** The moments that one rank holds where the optimizer is sharded: those of the chunks that it owns, one after the other. */
import type { AllReducePlan } from './plan.js';
import { trainableIn } from './payload.js';

/** The trainable part of a chunk that this rank owns, in elements from its segment's start. */
export interface OwnedRange {
  readonly bucket: number;
  readonly segment: number;
  readonly offset: number;
  readonly elements: number;
  /** Its place in the moments of this rank and segment. */
  readonly at: number;
}

export function ownedRanges({ buckets, rank }: AllReducePlan): OwnedRange[] {
  const filled = new Map<number, number>();
  return buckets.flatMap((bucket) =>
    bucket.chunks.flatMap((chunk): OwnedRange[] => {
      const elements = trainableIn(bucket, chunk);
      if (chunk.owner !== rank || elements === 0) return [];
      const at = filled.get(bucket.segment) ?? 0;
      filled.set(bucket.segment, at + elements);
      return [{ bucket: bucket.index, segment: bucket.segment, offset: chunk.offset, elements, at }];
    }),
  );
}
