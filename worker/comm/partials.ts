/** Where the partials and results of a generation lie in memory, and their sums along the tree. */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { sumTree } from '../../src/collective/tree-sum.js';
import { depthOf, type TreeNode } from '../../src/collective/tree.js';
import { assert } from '../../src/errors.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { INBOX, outboxRegion, placeInbox, placeRelay, RELAY, resultRegion, SCRATCH, slotRegion } from './regions.js';
import { blockElements, type PartialPlaces } from './regions.js';

const floatBytes = 4;

/** A range of a bucket's segment, in elements. */
export interface Range {
  readonly offset: number;
  readonly elements: number;
}

export class Partials {
  readonly #plan: AllReducePlan;
  readonly #memory: FlatMemory;
  readonly #inbox: PartialPlaces;
  readonly #relay: PartialPlaces;
  readonly #ownSlots: ReadonlySet<number>;
  readonly #outbox: ReadonlySet<number>;
  readonly #depth: number;

  constructor(plan: AllReducePlan, memory: FlatMemory) {
    this.#plan = plan;
    this.#memory = memory;
    this.#inbox = placeInbox(plan, memory.layout.segments.length);
    this.#relay = placeRelay(plan, memory.layout.segments.length);
    this.#ownSlots = new Set(plan.slots);
    this.#outbox = new Set(plan.worldSize > 1 ? plan.ownNodes.flatMap(({ id, children }) => (children ? id : [])) : []);
    this.#depth = depthOf(plan.tree);
  }

  /** Address of what a peer sends of a chunk at this step. */
  inboxAddress({ index, segment }: RoutedBucket, chunk: Chunk, node: number, step: number): number {
    const place = this.#inbox.places[index]?.[chunk.index]?.get(node);
    assert(place, `there is no room for the partial of tree node ${node} of chunk ${chunk.index}, bucket ${index}`);
    return this.#address(INBOX, segment, place.offset + (step % 2) * place.oddOffset);
  }

  /** Address of a partial that this worker sends: of its own, or of what it sends on. */
  sentAddress({ index, segment }: RoutedBucket, chunk: Chunk, node: TreeNode): number {
    if (!chunk.route.isRelay) return this.#ownAddress(segment, chunk.offset, node);
    const place = this.#relay.places[index]?.[chunk.index]?.get(node.id);
    assert(place, `there is no room for tree node ${node.id} of chunk ${chunk.index}, bucket ${index}, to be sent on`);
    return this.#address(RELAY, segment, place.offset);
  }

  /** Address of a result. */
  resultAddress({ segment }: RoutedBucket, { offset }: Range): number {
    return this.#address(resultRegion(this.#plan), segment, offset);
  }

  /** Sums own neighbouring slots that are sent as one partial. */
  fillOutbox(bucket: RoutedBucket): void {
    for (const node of this.#plan.ownNodes) {
      if (!this.#outbox.has(node.id)) continue;
      const start = this.#ownAddress(bucket.segment, bucket.offset, node);
      this.#sumBlocks(bucket, bucket, {
        node,
        destination: (done) => start + done,
        addressOf: ({ firstSlot, children }, offset) =>
          children ? undefined : this.#address(slotRegion(firstSlot), bucket.segment, offset),
      });
    }
  }

  /** The sum of a chunk over all slots, to where results lie. */
  sum(bucket: RoutedBucket, chunk: Chunk, step: number): void {
    const start = this.resultAddress(bucket, chunk);
    this.eachSum(bucket, chunk, step, { destination: (done) => start + done });
  }

  /** The sums of a chunk that are sent on. */
  combine(bucket: RoutedBucket, chunk: Chunk, step: number): void {
    for (const node of chunk.route.nodes) {
      const start = this.sentAddress(bucket, chunk, node);
      this.eachSum(bucket, chunk, step, { node, destination: (done) => start + done });
    }
  }

  /**
   * Sums a chunk block by block.
   *
   * @param options node: the root of what is summed; all slots, by default. destination: the address of the block's sum, from the bytes that are done; without it a block is summed
   * in scratch memory, or is a partial in place. consume: is told where it lies
   */
  eachSum(
    bucket: RoutedBucket,
    chunk: Chunk,
    step: number,
    options: {
      readonly node?: TreeNode;
      readonly destination?: (doneBytes: number) => number;
      readonly consume?: (address: number, block: Range) => void;
    },
  ): void {
    const { segment } = bucket;
    const scratch = this.#scratch(segment, 2 * this.#depth);
    const inbox = this.#inbox.places[bucket.index]?.[chunk.index];
    this.#sumBlocks(bucket, chunk, {
      node: options.node ?? this.#plan.tree,
      destination: options.destination ?? (() => scratch),
      ...(options.consume && { consume: options.consume }),
      addressOf: (node, offset) => {
        if (inbox?.has(node.id)) {
          return this.inboxAddress(bucket, chunk, node.id, step) + (offset - chunk.offset) * floatBytes;
        }
        if (this.#outbox.has(node.id)) return this.#address(outboxRegion(node), segment, offset);
        const isOwn = node.children === null && this.#ownSlots.has(node.firstSlot);
        return isOwn ? this.#address(slotRegion(node.firstSlot), segment, offset) : undefined;
      },
    });
  }

  #sumBlocks(
    { segment }: RoutedBucket,
    range: Range,
    options: {
      readonly node: TreeNode;
      readonly addressOf: (node: TreeNode, offset: number) => number | undefined;
      readonly destination: (doneBytes: number) => number;
      readonly consume?: (address: number, block: Range) => void;
    },
  ): void {
    const { node, addressOf, destination, consume } = options;
    const { add } = this.#memory.kernels(segment);
    const scratch = (index: number): number => this.#scratch(segment, index);
    for (let done = 0; done < range.elements; done += blockElements) {
      const block = { offset: range.offset + done, elements: Math.min(blockElements, range.elements - done) };
      const wanted = destination(done * floatBytes);
      const found = sumTree(node, {
        addressOf: (one) => addressOf(one, block.offset),
        destination: wanted,
        scratch,
        numElements: block.elements,
        add,
      });
      if (consume) consume(found, block);
      else if (found !== wanted) this.#copy(segment, found, wanted, block.elements);
    }
  }

  #copy(segment: number, source: number, destination: number, elements: number): void {
    const numBytes = elements * floatBytes;
    this.#memory.bytes(segment, destination, numBytes).set(this.#memory.bytes(segment, source, numBytes));
  }

  #ownAddress(segment: number, offset: number, node: TreeNode): number {
    return this.#address(node.children ? outboxRegion(node) : slotRegion(node.firstSlot), segment, offset);
  }

  #scratch(segment: number, index: number): number {
    return this.#address(SCRATCH, segment, index * blockElements);
  }

  #address(region: string, segment: number, offset: number): number {
    return this.#memory.address(region, segment) + offset * floatBytes;
  }
}
