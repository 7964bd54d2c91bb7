/** How much of a chunk travels as bfloat16, and how much as float32: wire.ts says why. */
import type { AllReducePlan, Chunk } from './plan.js';
import type { Bucket } from './buckets.js';

/** Elements of a chunk as they travel. */
export interface Payload {
  /** The first ones: 2 bytes each, as bfloat16. A multiple of 16. */
  readonly halves: number;
  /** The others: 4 bytes each. */
  readonly floats: number;
}

export function payloadBytes({ halves, floats }: Payload): number {
  return 2 * halves + 4 * floats;
}

export function partialPayload(plan: AllReducePlan, bucket: Bucket, chunk: Chunk, node: number): Payload {
  return payloadOf(bucket, chunk, plan.wire === 'bfloat16' && plan.leaves.has(node));
}

export function resultPayload(plan: AllReducePlan, bucket: Bucket, chunk: Chunk): Payload {
  return payloadOf(bucket, chunk, plan.wire === 'bfloat16' && !plan.isSharded);
}

/** How many elements of a range of the bucket's segment, from its start, the optimizer updates. */
export function trainableIn(bucket: Bucket, range: { readonly offset: number; readonly elements: number }): number {
  return Math.min(range.elements, Math.max(0, bucket.offset + bucket.trainableElements - range.offset));
}

function payloadOf(bucket: Bucket, chunk: Chunk, isRounded: boolean): Payload {
  const halves = isRounded ? trainableIn(bucket, chunk) : 0;
  return { halves, floats: chunk.elements - halves };
}
