/**
 * The arrays of the flat state, all in the segments' shared memories:
 *
 *   parameters, moments   the state itself, with the parameters' moving average. A sharded optimizer's moments are those of the
 *                         chunks that this worker owns
 *   slot:S                the partial of each slot that this worker holds, until the step is committed
 *   outbox:N              sums of neighbouring own slots, for the peers
 *   inbox                 what peers send of the chunks that this worker sums
 *   relay                 what this worker sends on for its host
 *   packed                slots' partials as bfloat16, as they are sent
 *   gathered              rank 0, sharded: one moment of one bucket, on its way to a checkpoint
 *   squares               sharded, where a step depends on the whole gradient: sums of squares, of all ranks, two elements each
 *   results               the sums of chunks that have an owner: own ones, those that came, and windows on those of peers of
 *                         this host (windows.ts)
 *   scratch               two blocks for each level of the tree, one for their sum, and one for what is made of that
 *   checksums             the state of one checksum for each rank: what comes from it, and for this rank what it sends
 *
 * Results lie apart from partials: a step that is cut off goes on in the next generation with the partials that are there.
 * This file has what one generation touches; reservation.ts has room for any that the run may have.
 */
import { hasRoomForEarly } from '../../src/collective/all-reduce.js';
import { pageElements, type Bucket } from '../../src/collective/buckets.js';
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { partialPayload, payloadBytes } from '../../src/collective/payload.js';
import { ownedRanges } from '../../src/collective/shard.js';
import { numSquares } from '../../src/collective/squares.js';
import { depthOf, type TreeNode } from '../../src/collective/tree.js';
import { checksumStateBytes } from '../../src/kernels/kernels.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions, sharedRegions } from '../../src/optimizer/optimizer.js';
import { alignElements, type Layout } from '../../src/state/layout.js';
import { PARAMETERS, type FlatMemory, type RegionPlan } from '../../src/state/memory.js';

/** Sums are made block by block, so that what is between stays in the processor's cache: 64 KiB each. */
export const blockElements = 16_384;

export const INBOX = 'inbox';
export const RESULTS = 'results';
export const RELAY = 'relay';
export const PACKED = 'packed';
export const GATHERED = 'gathered';
export const SQUARES = 'squares';
export const SCRATCH = 'scratch';
export const CHECKSUMS = 'checksums';
/** What this worker tells its peers in memory, and windows on what they tell (boards.ts). */
export const BOARD = 'board';
export const PEER_BOARDS = 'peer-boards';
/** A float64. */
export const elementsOfSquare = 2;
export const checksumStateElements = checksumStateBytes / Float32Array.BYTES_PER_ELEMENT;
/** The byte address of a rank's state in `checksums`. */
export const checksumState = (memory: FlatMemory, segment: number, rank: number): number =>
  memory.address(CHECKSUMS, segment) + rank * checksumStateBytes;
export const slotRegion = (slot: number): string => `slot:${slot}`;
/** What lies before it is the state, which no peer mounts. */
export const firstShared = slotRegion(0);
/** `index`: the node's place among the inner ones of those that hold its worker's slots. */
export const outboxRegion = (index: number): string => `outbox:${index}`;

export interface RegionOptions {
  readonly layout: Layout;
  readonly plan: AllReducePlan;
  readonly optimizer: OptimizerConfig;
}

/** What one generation touches, in elements. */
export function planRegions({ layout, plan, optimizer }: RegionOptions): RegionPlan[] {
  const whole = layout.segments.map(({ elements }) => elements);
  const reduced = layout.segments.map(({ reducedElements }) => reducedElements);
  const trainable = layout.segments.map(({ trainableElements }) => trainableElements);
  const owned = sumBySegment(layout, ownedRanges(plan));
  const numSegments = layout.segments.length;
  const shared = new Set(plan.isSharded ? sharedRegions(optimizer) : []);
  const scratch = new Array<number>(numSegments).fill(numScratchBlocks(plan.tree) * blockElements);
  const hasOwners = plan.buckets.some(({ chunks }) => chunks.some(({ owner }) => owner !== null));
  return [
    { name: PARAMETERS, elements: whole },
    ...momentRegions(optimizer).map((name) => ({ name, elements: shared.has(name) ? owned : trainable })),
    ...plan.slots.map((slot) => ({ name: slotRegion(slot), elements: reduced })),
    ...outboxNodes(plan).map((_, index) => ({ name: outboxRegion(index), elements: reduced })),
    { name: INBOX, elements: placeInbox(plan, numSegments).elements },
    { name: RELAY, elements: placeRelay(plan, numSegments).elements },
    { name: PACKED, elements: placePacked(plan, numSegments).elements },
    { name: GATHERED, elements: gathersMoments(plan) ? largestBuckets(layout, plan) : layout.segments.map(() => 0) },
    { name: SQUARES, elements: plan.sharesSquares ? squareElements(layout, plan) : layout.segments.map(() => 0) },
    { name: RESULTS, elements: hasOwners ? reduced : layout.segments.map(() => 0) },
    { name: SCRATCH, elements: scratch },
    { name: CHECKSUMS, elements: layout.segments.map(() => plan.worldSize * checksumStateElements) },
    ...boardRegions(layout, plan.worldSize),
  ];
}

/** A page for each worker, in the first segment. */
export function boardRegions({ segments }: Pick<Layout, 'segments'>, numWorkers: number): RegionPlan[] {
  const numbers = [
    [BOARD, 1],
    [PEER_BOARDS, numWorkers],
  ] as const;
  return numbers.map(([name, numPages]) => {
    return { name, elements: segments.map((_, segment) => (segment === 0 ? numPages * pageElements : 0)) };
  });
}

/** Whether this rank writes checkpoints with moments that others hold. */
export function gathersMoments({ rank, isSharded }: AllReducePlan): boolean {
  return isSharded && rank === 0;
}

interface SizedRange {
  readonly segment: number;
  readonly elements: number;
}

function sumBySegment({ segments }: Layout, ranges: readonly SizedRange[]): number[] {
  return segments.map((_, index) => ranges.reduce((sum, one) => sum + (one.segment === index ? one.elements : 0), 0));
}

export function largestBuckets(
  { segments }: Pick<Layout, 'segments'>,
  { buckets }: { readonly buckets: readonly Bucket[] },
): number[] {
  return segments.map((_, index) => Math.max(0, ...buckets.map((one) => (one.segment === index ? one.elements : 0))));
}

function squareElements(layout: Layout, { buckets }: AllReducePlan): number[] {
  const ranges = buckets.flatMap((bucket) =>
    bucket.chunks.map((chunk) => ({
      segment: bucket.segment,
      elements: elementsOfSquare * numSquares(bucket, chunk),
    })),
  );
  return sumBySegment(layout, ranges);
}

export function numScratchBlocks(tree: TreeNode): number {
  return 2 * depthOf(tree) + 2;
}

/** Sums of own slots that peers take, in the order of their outboxes. */
export function outboxNodes({ worldSize, ownNodes }: AllReducePlan): TreeNode[] {
  return worldSize > 1 ? ownNodes.filter(({ children }) => children) : [];
}

/** Where a partial of a chunk lies. */
export interface PartialPlace {
  /** In elements from the region's start in its segment. */
  readonly offset: number;
  /** How much further those of odd steps lie. */
  readonly oddOffset: number;
}

export interface PartialPlaces {
  /** By bucket, chunk and tree node. */
  readonly places: readonly (readonly ReadonlyMap<number, PartialPlace>[])[];
  /** Length of the region in each segment. */
  readonly elements: readonly number[];
}

/** Lays out what comes in, as it travels. */
export function placeInbox(plan: AllReducePlan, numSegments: number): PartialPlaces {
  const sizeOf = (bucket: RoutedBucket, chunk: Chunk, node: number): number =>
    payloadBytes(partialPayload(plan, bucket, chunk, node)) / Float32Array.BYTES_PER_ELEMENT;
  return placePartials(plan, numSegments, { nodesOf: ({ route }) => [...route.partialsFrom.keys()], sizeOf });
}

/** Lays out what is sent on, as float32. */
export function placeRelay(plan: AllReducePlan, numSegments: number): PartialPlaces {
  const nodesOf = ({ route }: Chunk): number[] => (route.isRelay ? route.nodes.map(({ id }) => id) : []);
  return placePartials(plan, numSegments, { nodesOf, sizeOf: (_, { elements }) => elements });
}

/** Lays out what is packed before it is sent. */
export function placePacked(plan: AllReducePlan, numSegments: number): PartialPlaces {
  const nodesOf = ({ route: { partialsTo, nodes } }: Chunk): number[] =>
    partialsTo.length > 0 ? nodes.flatMap(({ id }) => (plan.leaves.has(id) ? id : [])) : [];
  const sizeOf = (bucket: RoutedBucket, chunk: Chunk, node: number): number => {
    const payload = partialPayload(plan, bucket, chunk, node);
    return payload.halves > 0 ? payloadBytes(payload) / Float32Array.BYTES_PER_ELEMENT : 0;
  };
  return placePartials(plan, numSegments, { nodesOf, sizeOf });
}

function wholePages(elements: number): number {
  return Math.ceil(elements / pageElements) * pageElements;
}

/** One after the other, each on a page: what comes in may be a window on a peer's memory. */
function placePartials(
  plan: AllReducePlan,
  numSegments: number,
  what: {
    readonly nodesOf: (chunk: Chunk) => readonly number[];
    readonly sizeOf: (bucket: RoutedBucket, chunk: Chunk, node: number) => number;
  },
): PartialPlaces {
  const elements = new Array<number>(numSegments).fill(0);
  const places = plan.buckets.map((bucket) =>
    bucket.chunks.map((chunk) => {
      const hasTwo = hasRoomForEarly(plan, chunk);
      const entries = what.nodesOf(chunk).map((node) => {
        const size = alignElements(what.sizeOf(bucket, chunk, node));
        const offset = wholePages(elements[bucket.segment] ?? 0);
        elements[bucket.segment] = offset + (hasTwo ? 2 : 1) * size;
        return [node, { offset, oddOffset: hasTwo ? size : 0 }] as const;
      });
      return new Map(entries);
    }),
  );
  return { places, elements };
}
