/** Going through the rows of any dataset, and naming them. */
import type { Dataset } from '../../src/job/dataset.js';

/** Where a row comes from, for messages. */
export function describeRow(dataset: Dataset, index: number): string {
  return dataset.describe?.(index) ?? `row ${index + 1}`;
}

/** All row numbers in order, some at a time. */
export function* blocksOf(numRows: number, blockRows = 1024): Generator<Uint32Array> {
  for (let first = 0; first < numRows; first += blockRows) {
    yield Uint32Array.from({ length: Math.min(blockRows, numRows - first) }, (_, i) => first + i);
  }
}
