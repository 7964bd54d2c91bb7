/**
 * Windows on the memory of peers of this host: where their partials of our chunks, and their results, would be copied to,
 * their own pages are mapped. A frame from such a peer, or to it, says that bytes are there, and carries none.
 *
 * This is safe by the order of events of the direct route, and of no other. A partial is read when its chunk is summed; its
 * sender cannot commit the step, hence not overwrite it, without our result of that chunk. A result is read until we have
 * committed; its owner cannot sum the next step without our partial of that.
 */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import type { TreeNode } from '../../src/collective/tree.js';
import type { SharedMemory } from '../../src/protocol/messages.js';
import type { FlatMemory } from '../../src/state/memory.js';
import type { PageRange, SharedPages } from './shared-pages.js';
import { INBOX, outboxRegion, placeInbox, RESULTS, slotRegion, type PartialPlaces } from './regions.js';

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

/** Between which ranks frames carry no bytes. */
export class Windows {
  /** Peers that read this worker's memory. */
  readonly readers = new Set<number>();
  readonly #mounted = new Set<number>();

  /** Whether this worker reads the memory of `rank`. */
  reads(rank: number): boolean {
    return this.#mounted.has(rank);
  }

  /** Opens windows on all that `rank` will tell of. Whether this process can see its memory. */
  open(rank: number, theirs: SharedMemory, options: WindowOptions): boolean {
    const { plan, memory, pages } = options;
    if (!memory.has(RESULTS) || !pages.sees(theirs)) return false;
    const inbox = placeInbox(plan, memory.layout.segments.length);
    for (const bucket of plan.buckets) {
      for (const chunk of bucket.chunks.filter(({ onPages }) => onPages)) {
        for (const { target, source } of windowsOf({ rank, plan, bucket, chunk, inbox })) {
          pages.mount(memory, target, theirs, source);
        }
      }
    }
    this.#mounted.add(rank);
    return true;
  }
}

export interface WindowOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly pages: SharedPages;
}

interface Window {
  readonly target: PageRange;
  readonly source: Pick<PageRange, 'region' | 'offset'>;
}

/** What of a chunk is read in the memory of `rank`: its partials where we own the chunk, the result where it does. */
function windowsOf(from: {
  readonly rank: number;
  readonly plan: AllReducePlan;
  readonly bucket: RoutedBucket;
  readonly chunk: Chunk;
  readonly inbox: PartialPlaces;
}): Window[] {
  const { rank, plan, bucket, chunk, inbox } = from;
  const { segment } = bucket;
  const offset = chunk.offset * floatBytes;
  const bytes = chunk.elements * floatBytes;
  const { partialsFrom, resultFrom } = chunk.route;
  if (resultFrom === rank) {
    return [{ target: { segment, region: RESULTS, offset, bytes }, source: { region: RESULTS, offset } }];
  }
  return [...partialsFrom].flatMap(([id, sender]) => {
    const place = inbox.places[bucket.index]?.[chunk.index]?.get(id);
    const node = nodeOf(plan.tree, id);
    if (sender !== rank || !place || !node) return [];
    const region = node.children ? outboxRegion(node.id) : slotRegion(node.firstSlot);
    const target = { segment, region: INBOX, offset: place.offset * floatBytes, bytes };
    return [{ target, source: { region, offset } }];
  });
}

function nodeOf(node: TreeNode, id: number): TreeNode | undefined {
  if (node.id === id) return node;
  return node.children?.map((child) => nodeOf(child, id)).find((found) => found !== undefined);
}
