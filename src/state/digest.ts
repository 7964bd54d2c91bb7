/** The digest that says whether two runs have the same weights: `weightsSha256` in summaries and checkpoints. */
import type { Layout } from './layout.js';
import { type FlatMemory, PARAMETERS } from './memory.js';

/** What `createHash` of node:crypto makes, and anything like it. */
export interface Hash {
  update(bytes: Uint8Array): unknown;
}

/**
 * Feeds all parameters to `hash` as little-endian float32: trainable ones in model order, then the others, without the
 * gaps between them. So the digest is a function of names' order and values, not of segments. (WebAssembly memory is
 * little-endian on every host.)
 */
export function weightsDigest(layout: Layout, memory: FlatMemory, hash: Hash): void {
  for (const parameter of layout.parameters) hash.update(bytesOf(memory.parameterView(PARAMETERS, parameter)));
}

/** The bytes of an array, not a copy. */
export function bytesOf(array: Float32Array<SharedArrayBuffer>): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
