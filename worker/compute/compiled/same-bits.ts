/** What graphs are checked with against the eager pass: other rows, and a comparison of bits. */
import type { Column } from '../../../src/job/dataset.js';
import { sizeOf } from '../../../src/state/parameter.js';

/** Rows 1, 2, …, and the last one twice: other rows and other sums, with nothing that the data does not hold. */
export function shiftRows({ data, shape }: Column): Column {
  const size = sizeOf(shape.slice(1));
  const shifted = data.slice();
  if (shape[0] !== 1) shifted.copyWithin(0, size);
  return { data: shifted, shape };
}

export function sameBits(a: Float32Array, b: Float32Array | undefined): boolean {
  return b !== undefined && Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
