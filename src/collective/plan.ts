/** The plan of a generation's all-reduce: every worker makes it from what all of them know, and all plans fit together. */
import {
  alignment,
  divide,
  dividesInPages,
  pageElements,
  planBuckets,
  type Bucket,
  type SegmentExtent,
} from './buckets.js';
import type { SlotRange } from './assignment.js';
import { Hosts } from './hosts.js';
import { directRoute, exchangeRoute, isExchanged, twoLevelRoute, type Route, type RouteSetting } from './routes.js';
import type { WireFormat } from './wire.js';
import { coveringNodes, reductionTree, type TreeNode } from './tree.js';

/** The part of a bucket that is summed in one place. */
export interface Chunk {
  /** Its place in the bucket's list. */
  readonly index: number;
  /** In elements from the segment's start; a multiple of 16, like `elements`. */
  readonly offset: number;
  readonly elements: number;
  /** The rank that sums it; null: each sums it for itself (then it is the whole bucket). */
  readonly owner: number | null;
  /** It has an owner and begins on a page of memory, and no other chunk has part of its pages. */
  readonly onPages: boolean;
  /** This rank's part in it. */
  readonly route: Route;
}

export interface RoutedBucket extends Bucket {
  /** None is empty: a small bucket leaves the last ranks without one. */
  readonly chunks: readonly Chunk[];
}

/** What does not change within a generation. */
export interface AllReducePlan {
  readonly generation: number;
  readonly rank: number;
  readonly worldSize: number;
  readonly tree: TreeNode;
  /** The slots that this rank holds. */
  readonly slots: readonly number[];
  /** The fewest tree nodes that hold these slots. */
  readonly ownNodes: readonly TreeNode[];
  /** Ids of the tree nodes of one slot. */
  readonly leaves: ReadonlySet<number>;
  readonly wire: WireFormat;
  /** Results are new weights: the owner of a chunk alone holds its moments, and takes the optimizer's step. */
  readonly isSharded: boolean;
  /** Sharded: nobody takes the optimizer's step before it has the squares of everybody's sums, and knows them to be finite (squares.ts). */
  readonly sharesSquares: boolean;
  /** Where large buckets go over two levels. */
  readonly hosts: Hosts | null;
  /**
   * Whether it is between workers of one host: where all of them read one another's memory, no frame is needed
   * (worker/comm/local-reduction.ts).
   */
  readonly isLocal: boolean;
  readonly buckets: readonly RoutedBucket[];
}

export interface PlacedWorker extends SlotRange {
  /** Equal for workers of one host. */
  readonly hostId: string;
}

export interface AllReduceOptions {
  readonly generation: number;
  readonly rank: number;
  /** Slots of the run. */
  readonly slots: number;
  /** By rank. */
  readonly workers: readonly PlacedWorker[];
  readonly segments: readonly SegmentExtent[];
  readonly bucketBytes: number;
  /** @default 'float32' */
  readonly wire?: WireFormat | undefined;
  /** Whether moments are shared out; with one worker there is nobody to share with. @default false */
  readonly sharded?: boolean | undefined;
  /** Whether the optimizer's step depends on the norm of the whole gradient, or on whether all of it is finite. @default false */
  readonly judgesWhole?: boolean | undefined;
  /** Whether workers of one host can read one another's memory, as far as is known. @default false */
  readonly sharesMemory?: boolean | undefined;
  /** How many bytes more a worker may send to save a hop. @default 384 KiB */
  readonly hopBytes?: number | undefined;
}

export function planAllReduce(options: AllReduceOptions): AllReducePlan {
  const { generation, rank, workers, segments, bucketBytes, hopBytes, wire = 'float32' } = options;
  const tree = reductionTree(options.slots);
  const nodesByRank = workers.map(({ firstSlot, endSlot }) => coveringNodes(tree, firstSlot, endSlot));
  const isSharded = options.sharded === true && workers.length > 1;
  const sharesSquares = isSharded && options.judgesWhole === true;
  const setting = { rank, nodesByRank, wire };
  const exchange = exchangeRoute(setting);
  const hosts = Hosts.of(workers.map(({ hostId }) => hostId));
  const owned = ownedRoutes(setting, workers, hosts, tree);
  const buckets = planBuckets(segments, bucketBytes);
  // Others read memory as it is, in pages, and what lies there is float32.
  const canShare = bucketBytes % pageBytes === 0 && wire === 'float32';
  const isOneHost = new Set(workers.map(({ hostId }) => hostId)).size === 1;
  const isLocal = options.sharesMemory === true && canShare && !isSharded && isOneHost;
  const unitOf = ({ elements }: Bucket): number =>
    isLocal || sharesSquares || dividesInPages(elements, workers.length) ? pageElements : alignment;
  return {
    generation,
    rank,
    worldSize: workers.length,
    tree,
    slots: slotsOf(workers[rank]),
    ownNodes: nodesByRank[rank] ?? [],
    leaves: new Set(
      slotsOf({ firstSlot: 0, endSlot: options.slots }).flatMap((slot) => idsOf(coveringNodes(tree, slot, slot + 1))),
    ),
    wire,
    isSharded,
    sharesSquares,
    hosts,
    isLocal,
    buckets: buckets.map((bucket) => {
      // Each needs an owner that holds its moments, or whose memory the others read.
      const needsOwner = isSharded || (isLocal && workers.length > 1);
      const isWhole = !needsOwner && isExchanged(setting, bucket.elements * Float32Array.BYTES_PER_ELEMENT, hopBytes);
      if (isWhole) return { ...bucket, chunks: [wholeChunk(bucket, exchange)] };
      const unit = unitOf(bucket);
      return { ...bucket, chunks: ownedChunks(bucket, owned, { unit, onPages: canShare && unit === pageElements }) };
    }),
  };
}

/** By owner: over two levels where the hosts make them. */
function ownedRoutes(
  setting: RouteSetting,
  workers: readonly PlacedWorker[],
  hosts: Hosts | null,
  tree: TreeNode,
): Route[] {
  if (!hosts) return workers.map((_, owner) => directRoute(setting, owner));
  const nodesByHost = Array.from({ length: hosts.numHosts }, (_, host) => {
    const slots = hosts.ranksOf(host).flatMap((rank) => slotsOf(workers[rank]));
    return coveringNodes(tree, Math.min(...slots), Math.max(...slots) + 1);
  });
  return workers.map((_, owner) => twoLevelRoute(setting, hosts, nodesByHost, owner));
}

function wholeChunk({ offset, elements }: Bucket, route: Route): Chunk {
  return { index: 0, offset, elements, owner: null, onPages: false, route };
}

const pageBytes = pageElements * Float32Array.BYTES_PER_ELEMENT;

/** One for each rank. */
function ownedChunks(
  { offset, elements }: Bucket,
  routesByOwner: readonly Route[],
  { unit, onPages }: { readonly unit: number; readonly onPages: boolean },
): Chunk[] {
  const parts = divide(offset, elements, routesByOwner.length, unit);
  return routesByOwner
    .flatMap((route, owner) => {
      const part = parts[owner];
      return part && part.elements > 0 ? [{ ...part, owner, onPages, route }] : [];
    })
    .map((chunk, index) => ({ ...chunk, index }));
}

function slotsOf(range: SlotRange | undefined): number[] {
  const { firstSlot, endSlot } = range ?? { firstSlot: 0, endSlot: 0 };
  return Array.from({ length: endSlot - firstSlot }, (_, i) => firstSlot + i);
}

function idsOf(nodes: readonly TreeNode[]): number[] {
  return nodes.map(({ id }) => id);
}
