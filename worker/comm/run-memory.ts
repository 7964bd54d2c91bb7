/** The flat memory of a run; peers of this host can read it where the addon is there. */
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import type { Layout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { firstShared } from './regions.js';
import { reserveRegions, type ReservationOptions } from './reservation.js';
import { SharedPages } from './shared-pages.js';

export interface RunMemoryOptions extends ReservationOptions {
  readonly layout: Layout;
  readonly sharedPagesPath: string | null;
}

export interface RunMemory {
  /** All zeros. */
  readonly memory: FlatMemory;
  readonly sharedMemory: SharedMemory | null;
  /** To read that of peers; null where that cannot be done. */
  readonly pages: SharedPages | null;
}

/**
 * Shared from the start, also by a worker that is alone: a peer may join.
 *
 * @throws LockstepError ERR_MEMORY
 */
export function makeRunMemory(options: RunMemoryOptions): RunMemory {
  const { slots, layout, sharedPagesPath } = options;
  const memory = FlatMemory.create(layout, reserveRegions(layout, options));
  const addon = sharedPagesPath === null ? null : SharedPages.load(sharedPagesPath);
  addon?.useLargePages(memory, firstShared); // which the kernel rarely has for what is shared
  const pages = slots > 1 ? addon : null;
  return { memory, sharedMemory: pages?.share(memory, firstShared) ?? null, pages };
}
