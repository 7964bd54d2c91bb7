/**
 * Where each element of the flat state is reduced: segments are cut into buckets, a bucket into one chunk per rank. All
 * boundaries are multiples of 16 elements (64 bytes), and depend on the layout and the world size alone.
 */
import { assert } from '../errors.js';

/** A contiguous range of one segment that is reduced as a unit. Elements are float32. */
export interface Bucket {
  readonly index: number;
  readonly segment: number;
  readonly offset: number;
  readonly elements: number;
  /** The first of its elements that the optimizer updates; the others are assigned. */
  readonly trainableElements: number;
  /** Chunk `rank` of the bucket is `chunks[rank]`; a small bucket leaves the last ranks without one. */
  readonly chunks: readonly Chunk[];
}

/** The part of a bucket that one rank owns, in elements from the segment's start. */
export interface Chunk {
  readonly offset: number;
  readonly elements: number;
}

export interface SegmentExtent {
  /** Elements to reduce, from the segment's start. */
  readonly reducedElements: number;
  readonly trainableElements: number;
}

const alignment = 16;

export interface BucketOptions {
  readonly worldSize: number;
  /** Upper bound of a bucket, in bytes. @default 4 MiB */
  readonly bucketBytes?: number;
}

export const defaultBucketBytes = 4 * 1024 * 1024;

/** Cuts the segments into buckets, and each bucket into a chunk for each rank. */
export function planBuckets(segments: readonly SegmentExtent[], options: BucketOptions): Bucket[] {
  const bucketElements = Math.max(alignment, alignUp((options.bucketBytes ?? defaultBucketBytes) / 4));
  const buckets: Bucket[] = [];
  for (const [segment, { reducedElements, trainableElements }] of segments.entries()) {
    assert(
      reducedElements % alignment === 0,
      `${reducedElements} elements of segment ${segment} are no multiple of 16`,
    );
    for (let offset = 0; offset < reducedElements; offset += bucketElements) {
      const size = Math.min(bucketElements, reducedElements - offset);
      buckets.push({
        index: buckets.length,
        segment,
        offset,
        elements: size,
        trainableElements: Math.min(size, Math.max(0, trainableElements - offset)),
        chunks: planChunks(offset, size, options.worldSize),
      });
    }
  }
  return buckets;
}

function planChunks(offset: number, elements: number, worldSize: number): Chunk[] {
  const lines = elements / alignment;
  return Array.from({ length: worldSize }, (_, rank) => {
    const first = Math.floor((rank * lines) / worldSize) * alignment;
    const end = Math.floor(((rank + 1) * lines) / worldSize) * alignment;
    return { offset: offset + first, elements: end - first };
  });
}

function alignUp(elements: number): number {
  return Math.ceil(elements / alignment) * alignment;
}
