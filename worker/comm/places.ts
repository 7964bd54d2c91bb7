/** Where the partials and results of a generation lie in memory: byte addresses for the kernels of their segment. */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { ownedRanges, type OwnedRange } from '../../src/collective/shard.js';
import type { TreeNode } from '../../src/collective/tree.js';
import { assert } from '../../src/errors.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { FlatMemory } from '../../src/state/memory.js';
import {
  INBOX,
  outboxRegion,
  PACKED,
  placeInbox,
  placePacked,
  placeRelay,
  RELAY,
  resultRegion,
  RESULTS,
  slotRegion,
  type PartialPlaces,
} from './regions.js';
import type { Windows } from './windows.js';

export const floatBytes = 4;

/** A range of a bucket's segment, in elements. */
export interface Range {
  readonly offset: number;
  readonly elements: number;
}

export class Places {
  readonly #plan: AllReducePlan;
  readonly #memory: FlatMemory;
  readonly #windows: Windows;
  readonly #inbox: PartialPlaces;
  readonly #relay: PartialPlaces;
  readonly #packed: PartialPlaces;
  readonly #ownSlots: ReadonlySet<number>;
  readonly #outbox: ReadonlySet<number>;
  /** What this rank owns, by bucket. */
  readonly #owned: ReadonlyMap<number, OwnedRange>;

  constructor(plan: AllReducePlan, memory: FlatMemory, windows: Windows) {
    this.#windows = windows;
    const numSegments = memory.layout.segments.length;
    this.#plan = plan;
    this.#memory = memory;
    this.#inbox = placeInbox(plan, numSegments);
    this.#relay = placeRelay(plan, numSegments);
    this.#packed = placePacked(plan, numSegments);
    this.#owned = new Map(plan.isSharded ? ownedRanges(plan).map((range) => [range.bucket, range]) : []);
    this.#ownSlots = new Set(plan.slots);
    this.#outbox = new Set(plan.worldSize > 1 ? plan.ownNodes.flatMap(({ id, children }) => (children ? id : [])) : []);
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

  /**
   * The result of a chunk that has an owner, from `offset` on: apart where a peer reads it here, or this worker reads a
   * peer's.
   */
  result({ segment }: RoutedBucket, { offset: start, onPages, route }: Chunk, offset = start): number {
    const { resultFrom, resultTo } = route;
    const isRead = resultTo.length > 0 || (resultFrom !== null && this.#windows.reads(resultFrom));
    const isApart = onPages && isRead && this.#memory.has(RESULTS);
    return this.address(isApart ? RESULTS : resultRegion(this.#plan), segment, offset);
  }

  /** The partial of an own slot, or the sum of own neighbouring ones, from `offset` on; undefined where it is neither. */
  own({ id, firstSlot, children }: TreeNode, segment: number, offset: number): number | undefined {
    if (this.#outbox.has(id)) return this.address(outboxRegion(id), segment, offset);
    const isOwnSlot = children === null && this.#ownSlots.has(firstSlot);
    return isOwnSlot ? this.address(slotRegion(firstSlot), segment, offset) : undefined;
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
