/**
 * The sums of a generation along the tree, block by block, and their roundings where the wire is bfloat16
 * (src/collective/wire.ts says which).
 */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { sumTree } from '../../src/collective/tree-sum.js';
import { depthOf, type TreeNode } from '../../src/collective/tree.js';
import { partialPayload, resultPayload, trainableIn } from '../../src/collective/payload.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { floatBytes, type Places, type Range } from './places.js';
import { blockElements, SCRATCH, slotRegion } from './regions.js';

const halfBytes = 2;

interface BlockSums {
  readonly node: TreeNode;
  readonly addressOf: (node: TreeNode, block: Range, spare: number) => number | undefined;
  /** Where a block's sum belongs. */
  readonly destination: (block: Range) => number;
  /** Told where it lies: there, or in place of a partial that is all of it. @default it is copied there */
  readonly consume?: ((address: number, block: Range) => void) | undefined;
  /** Without `consume`: told when it is there. */
  readonly onBlock?: ((address: number, block: Range) => void) | undefined;
}

export class Sums {
  readonly #plan: AllReducePlan;
  readonly #memory: FlatMemory;
  readonly #places: Places;
  readonly #depth: number;

  constructor(plan: AllReducePlan, memory: FlatMemory, places: Places) {
    this.#plan = plan;
    this.#memory = memory;
    this.#places = places;
    this.#depth = depthOf(plan.tree);
  }

  /** Own slots' partials of a bucket as everyone takes them, and the sums of neighbouring ones that are sent as one. */
  prepare(bucket: RoutedBucket): void {
    const { segment, offset, trainableElements } = bucket;
    const { plan, places } = { plan: this.#plan, places: this.#places };
    if (plan.wire === 'bfloat16') {
      const { roundBfloat16 } = this.#memory.kernels(segment);
      for (const slot of plan.slots)
        roundBfloat16(places.address(slotRegion(slot), segment, offset), trainableElements);
    }
    for (const node of plan.worldSize > 1 ? plan.ownNodes : []) {
      if (!node.children) continue;
      this.#sumBlocks(bucket, bucket, {
        node,
        destination: (block) => places.outbox(node.id, segment, block.offset),
        addressOf: ({ firstSlot, children }, block) =>
          children ? undefined : places.address(slotRegion(firstSlot), segment, block.offset),
      });
    }
  }

  /** A partial that is to be sent, as it travels: its address. */
  toSend(bucket: RoutedBucket, chunk: Chunk, node: TreeNode): number {
    const source = this.#places.sent(bucket, chunk, node);
    const { halves } = partialPayload(this.#plan, bucket, chunk, node.id);
    if (halves === 0) return source;
    const packed = this.#places.packed(bucket, chunk, node.id);
    this.#pack(bucket, chunk, { source, packed, halves });
    return packed;
  }

  /**
   * The sum of a chunk over all slots to where results lie, as it travels.
   *
   * @param onBlock called with the address of each block of float32 sums as soon as it is there
   */
  sum(bucket: RoutedBucket, chunk: Chunk, step: number, onBlock?: (address: number, block: Range) => void): void {
    const destination = (block: Range): number => this.#places.result(bucket, chunk, block.offset);
    this.eachSum(bucket, chunk, step, { destination, onBlock });
    const { halves } = resultPayload(this.#plan, bucket, chunk);
    const result = this.#places.result(bucket, chunk);
    if (this.#plan.wire === 'bfloat16' && halves === 0) {
      this.#memory.kernels(bucket.segment).roundBfloat16(result, trainableIn(bucket, chunk));
    }
    if (halves > 0) this.#pack(bucket, chunk, { source: result, packed: result, halves });
  }

  /** The sums of a chunk that are sent on. */
  combine(bucket: RoutedBucket, chunk: Chunk, step: number): void {
    for (const node of chunk.route.nodes) {
      const start = this.#places.relay(bucket, chunk, node.id);
      const destination = (block: Range): number => start + (block.offset - chunk.offset) * floatBytes;
      this.eachSum(bucket, chunk, step, { node, destination });
    }
  }

  /** Hands over a chunk's sum over all slots block by block, as float32, rounded as everyone takes it. */
  eachResult(bucket: RoutedBucket, chunk: Chunk, step: number, consume: (address: number, block: Range) => void): void {
    const { roundBfloat16, unpackBfloat16 } = this.#memory.kernels(bucket.segment);
    const scratch = this.scratch(bucket.segment, 2 * this.#depth);
    if (chunk.owner === null) {
      this.eachSum(bucket, chunk, step, {
        destination: () => scratch,
        consume: (address, block) => {
          if (this.#plan.wire === 'bfloat16') roundBfloat16(address, trainableIn(bucket, block));
          consume(address, block);
        },
      });
      return;
    }
    const { halves } = resultPayload(this.#plan, bucket, chunk);
    const start = this.#places.result(bucket, chunk);
    for (const block of this.blocks(bucket, chunk)) {
      const at = placeInPayload(block.offset - chunk.offset, halves);
      if (at.isHalf) unpackBfloat16(scratch, start + at.bytes, block.elements);
      consume(at.isHalf ? scratch : start + at.bytes, block);
    }
  }

  /** Sums a chunk block by block; below `node`, or over all slots. */
  eachSum(
    bucket: RoutedBucket,
    chunk: Chunk,
    step: number,
    options: Omit<BlockSums, 'node' | 'addressOf'> & { readonly node?: TreeNode },
  ): void {
    const { segment } = bucket;
    const { unpackBfloat16 } = this.#memory.kernels(segment);
    this.#sumBlocks(bucket, chunk, {
      node: this.#plan.tree,
      ...options,
      addressOf: (node, block, spare) => {
        const inbox = this.#places.inbox(bucket, chunk, node.id, step);
        if (inbox === undefined) return this.#places.own(node, segment, block.offset);
        const { halves } = partialPayload(this.#plan, bucket, chunk, node.id);
        const at = placeInPayload(block.offset - chunk.offset, halves);
        if (!at.isHalf) return inbox + at.bytes;
        unpackBfloat16(spare, inbox + at.bytes, block.elements);
        return spare;
      },
    });
  }

  #sumBlocks(bucket: RoutedBucket, range: Range, { node, addressOf, destination, consume, onBlock }: BlockSums): void {
    const { segment } = bucket;
    const { add } = this.#memory.kernels(segment);
    const scratch = (index: number): number => this.scratch(segment, index);
    for (const block of this.blocks(bucket, range)) {
      const wanted = destination(block);
      const found = sumTree(node, {
        addressOf: (one, spare) => addressOf(one, block, spare),
        destination: wanted,
        scratch,
        numElements: block.elements,
        add,
      });
      if (consume) {
        consume(found, block);
        continue;
      }
      if (found !== wanted) this.#copy(segment, found, wanted, block.elements * floatBytes);
      onBlock?.(wanted, block);
    }
  }

  /** A range in parts of 64 KiB at most, of which none has both trainable elements and others. */
  *blocks(bucket: RoutedBucket, range: Range): Generator<Range> {
    const end = range.offset + range.elements;
    const border = range.offset + trainableIn(bucket, range);
    for (let { offset } = range; offset < end;) {
      const elements = Math.min(blockElements, (offset < border ? border : end) - offset);
      yield { offset, elements };
      offset += elements;
    }
  }

  /** From float32 at `source` to what travels at `packed`, which may be the same. */
  #pack(
    { segment }: RoutedBucket,
    { elements }: Chunk,
    { source, packed, halves }: { readonly source: number; readonly packed: number; readonly halves: number },
  ): void {
    this.#memory.kernels(segment).packBfloat16(packed, source, halves);
    const rest = (elements - halves) * floatBytes;
    if (rest > 0) this.#copy(segment, source + halves * floatBytes, packed + halves * halfBytes, rest);
  }

  #copy(segment: number, source: number, destination: number, numBytes: number): void {
    this.#memory.kernels(segment).copy(destination, source, numBytes);
  }

  /** One more block, which no sum uses. */
  spare(segment: number): number {
    return this.scratch(segment, 2 * this.#depth + 1);
  }

  /** Scratch memory of one block, until the next sum. */
  scratch(segment: number, index = 0): number {
    return this.#places.address(SCRATCH, segment, index * blockElements);
  }
}

/** Where the element `index` of a chunk lies in its payload, whose first `halves` elements are bfloat16. */
function placeInPayload(index: number, halves: number): { readonly bytes: number; readonly isHalf: boolean } {
  if (index < halves) return { bytes: index * halfBytes, isHalf: true };
  return { bytes: halves * halfBytes + (index - halves) * floatBytes, isHalf: false };
}
