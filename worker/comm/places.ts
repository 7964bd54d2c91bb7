/** Where the partials and results of a generation lie in memory: byte addresses for the kernels of their segment. */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { ownedRanges, type OwnedRange } from '../../src/collective/shard.js';
import type { TreeNode } from '../../src/collective/tree.js';
import { assert } from '../../src/errors.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { FlatMemory } from '../../src/state/memory.js';
import {
  INBOX,
  outboxNodes,
  outboxRegion,
  PACKED,
  placeInbox,
  placePacked,
  placeRelay,
  RELAY,
  RESULTS,
  slotRegion,
  type PartialPlaces,
} from './regions.js';

export const floatBytes = 4;

/** A range of a bucket's segment, in elements. */
export interface Range {
  readonly offset: number;
  readonly elements: number;
}

export class Places {
  readonly #plan: AllReducePlan;
  readonly #memory: FlatMemory;
  readonly #inbox: PartialPlaces;
  readonly #relay: PartialPlaces;
  readonly #packed: PartialPlaces;
  readonly #ownSlots: ReadonlySet<number>;
  /** Of each inner tree node that is sent, the number of its outbox. */
  readonly #outbox: ReadonlyMap<number, number>;
  /** What this rank owns, by bucket. */
  readonly #owned: ReadonlyMap<number, OwnedRange>;

  constructor(plan: AllReducePlan, memory: FlatMemory) {
    const numSegments = memory.layout.segments.length;
    this.#plan = plan;
    this.#memory = memory;
    this.#inbox = placeInbox(plan, numSegments);
    this.#relay = placeRelay(plan, numSegments);
    this.#packed = placePacked(plan, numSegments);
    this.#owned = new Map(plan.isSharded ? ownedRanges(plan).map((range) => [range.bucket, range]) : []);
    this.#ownSlots = new Set(plan.slots);
    this.#outbox = new Map(outboxNodes(plan).map(({ id }, index) => [id, index]));
  }

  /** What a peer sends of a chunk at this step; undefined where no peer sends it. */
  inbox({ index, segment }: RoutedBucket, chunk: Chunk, node: number, step: number): number | undefined {
    const place = this.#inbox.places[index]?.[chunk.index]?.get(node);
    return place && this.address(INBOX, segment, place.offset + (step % 2) * place.oddOffset);
  }

  /** What this worker sends on of a chunk. */
  relay({ index, segment }: RoutedBucket, chunk: Chunk, node: number): number {
    return this.#placed(RELAY, segment, this.#relay.places[index]?.[chunk.index]?.get(node));
  }

  /** What this worker sends of a chunk as bfloat16. */
  packed({ index, segment }: RoutedBucket, chunk: Chunk, node: number): number {
    return this.#placed(PACKED, segment, this.#packed.places[index]?.[chunk.index]?.get(node));
  }

  /** The result of a chunk that has an owner, from `offset` on. */
  result({ segment }: RoutedBucket, { offset: start }: Chunk, offset = start): number {
    return this.address(RESULTS, segment, offset);
  }

  /** The partial of an own slot, or the sum of own neighbouring ones, from `offset` on; undefined where it is neither. */
  own({ id, firstSlot, children }: TreeNode, segment: number, offset: number): number | undefined {
    if (this.#outbox.has(id)) return this.outbox(id, segment, offset);
    const isOwnSlot = children === null && this.#ownSlots.has(firstSlot);
    return isOwnSlot ? this.address(slotRegion(firstSlot), segment, offset) : undefined;
  }

  /** Where the sum of own neighbouring slots is made for the peers. */
  outbox(id: number, segment: number, offset: number): number {
    const index = this.#outbox.get(id);
    assert(index !== undefined, `tree node ${id} has no outbox here`);
    return this.address(outboxRegion(index), segment, offset);
  }

  /** A partial that this worker sends, as float32: of its own, or what it sends on. */
  sent(bucket: RoutedBucket, chunk: Chunk, node: TreeNode): number {
    if (chunk.route.isRelay) return this.relay(bucket, chunk, node.id);
    const address = this.own(node, bucket.segment, chunk.offset);
    assert(address !== undefined, `tree node ${node.id} is not this worker's`);
    return address;
  }

  /** A moment of elements that this worker holds, from `offset` on. */
  moment(region: MomentRegion, { index, segment }: RoutedBucket, offset: number): number {
    if (!this.#plan.isSharded) return this.address(region, segment, offset);
    const range = this.#owned.get(index);
    assert(range && offset >= range.offset, `this rank does not hold the moments of bucket ${index} from ${offset} on`);
    return this.address(region, segment, range.at + offset - range.offset);
  }

  address(region: string, segment: number, offset: number): number {
    return this.#memory.address(region, segment) + offset * floatBytes;
  }

  #placed(region: string, segment: number, place: { readonly offset: number } | undefined): number {
    assert(place, `region ${region} has no room for a partial that is to be sent`);
    return this.address(region, segment, place.offset);
  }
}
