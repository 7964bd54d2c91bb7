/**
 * The memory of a run: each region as large as any generation of it may need, whoever lives, on however many hosts, and
 * whichever slots this worker holds. It is planned once, so that a new generation allocates nothing and moves nothing. What
 * no generation touches is address space and no memory.
 */
import { pageElements, planBuckets, type Bucket } from '../../src/collective/buckets.js';
import { maxExchangedBytes } from '../../src/collective/routes.js';
import { numSquares } from '../../src/collective/squares.js';
import { heaviestCover, reductionTree, type TreeNode } from '../../src/collective/tree.js';
import type { WireFormat } from '../../src/collective/wire.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions } from '../../src/optimizer/optimizer.js';
import type { Layout, Segment } from '../../src/state/layout.js';
import { PARAMETERS, type RegionPlan } from '../../src/state/memory.js';
import { judgesWhole } from './generation-plan.js';
import {
  blockElements,
  boardRegions,
  CHECKSUMS,
  checksumStateElements,
  elementsOfSquare,
  GATHERED,
  INBOX,
  largestBuckets,
  numScratchBlocks,
  outboxRegion,
  PACKED,
  RELAY,
  RESULTS,
  SCRATCH,
  slotRegion,
  SQUARES,
} from './regions.js';

export interface ReservationOptions {
  /** Slots of the run. */
  readonly slots: number;
  readonly wire: WireFormat;
  readonly optimizer: OptimizerConfig;
  readonly onNotFinite: 'stop' | 'skip';
  readonly bucketBytes: number;
}

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

/** Elements of the one memory that a segment's regions share. */
const memoryElements = 2 ** 32 / floatBytes;

export function reserveRegions(
  layout: Pick<Layout, 'segments'>,
  { slots, wire, optimizer, onNotFinite, bucketBytes }: ReservationOptions,
): RegionPlan[] {
  const { segments } = layout;
  const tree = reductionTree(slots);
  const buckets = planBuckets(segments, bucketBytes);
  const bounds = boundsOf(tree);
  const each = (length: (segment: Segment) => number): number[] => segments.map(length);
  const summed = (length: (bucket: Bucket, bounds: Bounds) => number): number[] =>
    segments.map((_, segment) =>
      buckets.reduce((sum, bucket) => sum + (bucket.segment === segment ? length(bucket, bounds) : 0), 0),
    );
  const reduced = each(({ reducedElements }) => reducedElements);
  const none = each(() => 0);
  const hasPeers = slots > 1;
  const sharesSquares = optimizer.sharded && judgesWhole({ optimizer, onNotFinite });
  return [
    { name: PARAMETERS, elements: each(({ elements }) => elements) },
    ...momentRegions(optimizer).map((name) => ({ name, elements: each((segment) => segment.trainableElements) })),
    ...numbered(slots).map((slot) => ({ name: slotRegion(slot), elements: reduced })),
    ...numbered(bounds.sums).map((index) => ({ name: outboxRegion(index), elements: reduced })),
    { name: INBOX, elements: hasPeers ? summed(inboxElements) : none },
    { name: RELAY, elements: hasPeers ? summed(relayElements) : none },
    { name: PACKED, elements: hasPeers && wire === 'bfloat16' ? summed(packedElements) : none },
    { name: GATHERED, elements: optimizer.sharded ? largestBuckets({ segments }, { buckets }) : none },
    { name: SQUARES, elements: sharesSquares ? summed((bucket) => squareElements(bucket, slots)) : none },
    { name: RESULTS, elements: hasPeers ? reduced : none },
    { name: SCRATCH, elements: each(() => numScratchBlocks(tree) * blockElements) },
    { name: CHECKSUMS, elements: each(() => slots * checksumStateElements) },
    ...boardRegions({ segments }, slots),
  ];
}

/** Each worker has one chunk of a bucket at most. */
function squareElements(bucket: Bucket, numChunks: number): number {
  return elementsOfSquare * (numSquares(bucket, bucket) + numChunks - 1);
}

/** The longest segment whose regions fit into one memory. */
export function maxSegmentElements(options: ReservationOptions): number {
  const fits = (elements: number): boolean => {
    const segment = { elements, trainableElements: elements, reducedElements: elements };
    const regions = reserveRegions({ segments: [segment] }, options);
    return regions.reduce((sum, { elements: [length = 0] }) => sum + wholePages(length), 0) <= memoryElements;
  };
  let [most, tooMany] = [0, memoryElements / pageElements];
  while (tooMany - most > 1) {
    const middle = Math.floor((most + tooMany) / 2);
    if (fits(middle * pageElements)) most = middle;
    else tooMany = middle;
  }
  return most * pageElements;
}

/** How many tree nodes hold the slots of one worker, or of one host, at most; it is never alone. */
interface Bounds {
  readonly slots: number;
  readonly nodes: number;
  /** Those of several slots. */
  readonly sums: number;
  /** Those of one. */
  readonly leaves: number;
}

function boundsOf(tree: TreeNode): Bounds {
  return {
    slots: tree.endSlot,
    nodes: heaviestCover(tree, () => 1),
    sums: heaviestCover(tree, ({ children }) => (children ? 1 : 0)),
    leaves: heaviestCover(tree, ({ children }) => (children ? 0 : 1)),
  };
}

/**
 * Of a chunk that one of N workers owns, the N-1 others send it an N-th of the bucket for each of their nodes. Over two
 * levels, of L workers on each of H hosts, L-1 send theirs of H chunks, and H-1 hosts theirs of one: an
 * (L-1)/L + (H-1)/(H L) of the bucket for each node, which is below 1 too. What is exchanged comes whole from each node, and
 * twice: those of odd steps lie apart.
 */
function inboxElements({ elements }: Bucket, { slots, nodes }: Bounds): number {
  const owned = nodes * elements + rounding(slots * nodes + slots);
  const isSmall = elements * floatBytes <= maxExchangedBytes;
  return Math.max(owned, isSmall ? 2 * slots * elements + rounding(slots) : 0);
}

/** Of L workers on each of H hosts, for H-1 chunks: less than half of the bucket for each of the host's nodes. */
function relayElements({ elements }: Bucket, { slots, nodes }: Bounds): number {
  return slots < 4 ? 0 : (nodes * elements) / 2 + rounding(slots * nodes);
}

function packedElements({ elements }: Bucket, { slots, leaves }: Bounds): number {
  return (leaves * elements) / 2 + rounding(slots * leaves);
}

/** What is lost where each of `count` parts begins on a page, and chunks are cut by pages. */
function rounding(count: number): number {
  return 2 * pageElements * count;
}

function wholePages(elements: number): number {
  return Math.ceil(elements / pageElements) * pageElements;
}

function numbered(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
