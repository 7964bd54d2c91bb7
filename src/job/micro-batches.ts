/** How the rows of a slot are cut where its gradient is computed in parts (the job's `microBatches`). */
import type { Batch, Column } from './dataset.js';

/** Some neighbouring rows of a slot, by position. */
export interface RowRange {
  readonly first: number;
  readonly end: number;
}

/**
 * Cuts `rows` rows into `count` ranges, in order, that differ by one row at most: range `m` is floor(m·rows/count) to
 * floor((m+1)·rows/count). With fewer rows than ranges the empty ones are left out.
 */
export function cutRows(rows: number, count: number): RowRange[] {
  const bound = (index: number): number => Math.floor((index * rows) / count);
  const ranges = Array.from({ length: count }, (_, index) => ({ first: bound(index), end: bound(index + 1) }));
  return ranges.filter(({ first, end }) => end > first);
}

/** Some rows of a batch, over the same memory. */
export function sliceBatch({ x, y }: Batch, range: RowRange): Batch {
  return { x: sliceRows(x, range), y: sliceRows(y, range) };
}

function sliceRows({ data, shape }: Column, { first, end }: RowRange): Column {
  const [rows = 0, ...rest] = shape;
  const size = rows === 0 ? 0 : data.length / rows;
  return { data: data.subarray(first * size, end * size), shape: [end - first, ...rest] };
}
