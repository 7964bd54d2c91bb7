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
import { assert } from '../../src/errors.js';
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { pageBytes, type PageRange, type PeerMemory, type SharedPages } from './shared-pages.js';
import { peerBoardOffset } from './boards.js';
import {
  BOARD,
  INBOX,
  outboxRegion,
  PEER_BOARDS,
  placeInbox,
  RESULTS,
  slotRegion,
  type PartialPlaces,
} from './regions.js';

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

/** Until the memory of peers is let go, for what is left of those that have died to be freed. */
const releaseMs = 1_000;

/** Between which ranks of one generation frames carry no bytes. */
export class Windows {
  /** Peers that read this worker's memory. */
  readonly readers = new Set<number>();
  readonly #mounted = new Set<number>();
  readonly #open: PageRange[] = [];
  readonly #memories: PeerMemory[] = [];

  /** Whether this worker reads the memory of `rank`. */
  reads(rank: number): boolean {
    return this.#mounted.has(rank);
  }

  /** Opens windows on all that `rank` will tell of. Whether this process can see its memory. */
  open(rank: number, theirs: SharedMemory, { plan, memory, pages }: WindowOptions): boolean {
    if (!pages.sees(theirs)) return false;
    const peer = pages.open(theirs);
    this.#memories.push(peer);
    const inbox = placeInbox(plan, memory.layout.segments.length);
    for (const bucket of plan.buckets) {
      for (const chunk of bucket.chunks.filter(({ onPages }) => onPages)) {
        for (const { target, source } of windowsOf({ rank, plan, bucket, chunk, inbox })) {
          this.#open.push(target);
          pages.mount(memory, target, peer, source);
        }
      }
    }
    const board = { segment: 0, region: PEER_BOARDS, offset: peerBoardOffset(rank), bytes: pageBytes };
    this.#open.push(board);
    pages.mount(memory, board, peer, { region: BOARD, offset: 0 });
    this.#mounted.add(rank);
    return true;
  }

  /** Puts this worker's own pages back: the next generation lays out these regions anew. */
  close({ memory, pages, own }: Omit<WindowOptions, 'plan'> & { readonly own: SharedMemory }): void {
    for (const target of this.#open) pages.restore(memory, target, own);
    this.#open.length = 0;
    const memories = this.#memories.splice(0);
    // What is on its way to the next generation goes first.
    setTimeout(() => {
      for (const peer of memories) pages.release(peer);
    }, releaseMs).unref();
    this.#mounted.clear();
    this.readers.clear();
  }
}

/** What opens and closes windows. */
export type WindowPages = Pick<SharedPages, 'sees' | 'open' | 'mount' | 'restore' | 'release'>;

export interface WindowOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly pages: WindowPages;
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
  const theirs = [...partialsFrom].flatMap(([id, sender]) => (sender === rank ? nodeOf(plan.tree, id) : []));
  const sums = theirs.filter(({ children }) => children);
  return theirs.map((node) => {
    const place = inbox.places[bucket.index]?.[chunk.index]?.get(node.id);
    assert(place, `tree node ${node.id} has no place in the inbox`);
    const region = node.children ? outboxRegion(sums.indexOf(node)) : slotRegion(node.firstSlot);
    const target = { segment, region: INBOX, offset: place.offset * floatBytes, bytes };
    return { target, source: { region, offset } };
  });
}

function nodeOf(tree: TreeNode, id: number): TreeNode {
  const found = findNode(tree, id);
  assert(found, `there is no tree node ${id}`);
  return found;
}

function findNode(node: TreeNode, id: number): TreeNode | undefined {
  if (node.id === id) return node;
  return node.children?.map((child) => findNode(child, id)).find((found) => found !== undefined);
}
