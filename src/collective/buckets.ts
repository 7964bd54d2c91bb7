/**
 * The units in which the flat state is reduced: segments are cut into buckets. All boundaries are multiples of 16 elements
 * (64 bytes), and depend on the layout alone.
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
}

export interface SegmentExtent {
  /** Elements to reduce, from the segment's start. */
  readonly reducedElements: number;
  readonly trainableElements: number;
}

/** Elements of a cache line, of which all boundaries are multiples. */
export const alignment = 16;

/** 4 KiB: what a process can map of another's memory. */
export const pageElements = 1024;

export const defaultBucketBytes = 4 * 1024 * 1024;

/** Cuts the segments into buckets of at most `bucketBytes`. */
export function planBuckets(segments: readonly SegmentExtent[], bucketBytes = defaultBucketBytes): Bucket[] {
  const bucketElements = Math.max(alignment, Math.ceil(bucketBytes / 4 / alignment) * alignment);
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
      });
    }
  }
  return buckets;
}

/** Whether each of `count` parts has a page at least. */
export function dividesInPages(elements: number, count: number): boolean {
  return elements >= count * pageElements;
}

/** A range of `elements` in `count` parts of whole units, none with two more than another. */
export function divide(
  offset: number,
  elements: number,
  count: number,
  unit: number,
): { offset: number; elements: number }[] {
  const numUnits = Math.ceil(elements / unit);
  const boundary = (part: number): number => Math.min(elements, Math.floor((part * numUnits) / count) * unit);
  return Array.from({ length: count }, (_, part) => ({
    offset: offset + boundary(part),
    elements: boundary(part + 1) - boundary(part),
  }));
}
