/** How a slot's rows are cut into micro-batches. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Batch } from '../../src/job/dataset.js';
import { cutRows, sliceBatch } from '../../src/job/micro-batches.js';

describe('cutRows', () => {
  test('gives ranges in order that differ by one row at most', () => {
    expect(cutRows(10, 4)).toEqual([
      { first: 0, end: 2 },
      { first: 2, end: 5 },
      { first: 5, end: 7 },
      { first: 7, end: 10 },
    ]);
  });

  test('leaves out ranges without rows', () => {
    expect(cutRows(2, 4)).toEqual([
      { first: 0, end: 1 },
      { first: 1, end: 2 },
    ]);
  });

  test('uses every row once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 50 }), (rows, count) => {
        const ranges = cutRows(rows, count);
        const used = ranges.flatMap(({ first, end }) => Array.from({ length: end - first }, (_, i) => first + i));
        expect(used).toEqual(Array.from({ length: rows }, (_, row) => row));
        const sizes = ranges.map(({ first, end }) => end - first);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(ranges).toHaveLength(Math.min(rows, count));
      }),
    );
  });
});

describe('sliceBatch', () => {
  test('has the rows of the range, whatever their shape', () => {
    const batch: Batch = {
      x: { data: Float32Array.from({ length: 24 }, (_, i) => i), shape: [4, 2, 3] },
      y: { data: Int32Array.of(10, 11, 12, 13), shape: [4] },
    };
    expect(sliceBatch(batch, { first: 1, end: 3 })).toEqual({
      x: { data: Float32Array.from({ length: 12 }, (_, i) => 6 + i), shape: [2, 2, 3] },
      y: { data: Int32Array.of(11, 12), shape: [2] },
    });
  });
});
