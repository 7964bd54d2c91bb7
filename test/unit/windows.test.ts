/** Windows on a peer's memory: which pages are put where, and when the peer's memory is let go. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { planAllReduce } from '../../src/collective/plan.js';
import { adam } from '../../src/optimizer/config.js';
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { reserveRegions } from '../../worker/comm/reservation.js';
import { Windows, type WindowPages } from '../../worker/comm/windows.js';

const setting = { slots: 2, bucketBytes: 2 ** 22, wire: 'float32', optimizer: adam(), onNotFinite: 'stop' } as const;
const layout = planLayout([{ name: 'w', shape: [500_000], trainable: true }], 1);
const memory = FlatMemory.create(layout, reserveRegions(layout, setting));
const plan = planAllReduce({
  ...{ ...setting, generation: 1, rank: 0, segments: layout.segments, sharesMemory: true },
  workers: [0, 1].map((slot) => ({ firstSlot: slot, endSlot: slot + 1, hostId: 'h' })),
});
const theirs: SharedMemory = { pid: 7, files: [{ file: 3, inode: '1:2' }], regions: {} };
const own: SharedMemory = { ...theirs, pid: 8 };

/** Pages that are counted, and are nowhere. */
function countedPages() {
  const peer = { files: [11], regions: {} };
  const pages = {
    sees: vi.fn(() => true),
    open: vi.fn(() => peer),
    mount: vi.fn(),
    restore: vi.fn(),
    release: vi.fn(),
  } satisfies WindowPages;
  return { peer, pages };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('windows on a peer', () => {
  it('are opened on one opening of its memory, and closed to the last', () => {
    const { peer, pages } = countedPages();
    const windows = new Windows();
    expect(windows.open(1, theirs, { plan, memory, pages })).toBe(true);
    expect(pages.open).toHaveBeenCalledOnce();
    expect(new Set(pages.mount.mock.calls.map((call: unknown[]) => call[2]))).toEqual(new Set([peer]));
    windows.close({ memory, pages, own });
    const targets = (calls: unknown[][]): unknown[] => calls.map((call) => call[1]);
    expect(targets(pages.restore.mock.calls)).toEqual(targets(pages.mount.mock.calls));
    expect(pages.restore.mock.calls.length).toBeGreaterThan(1);
  });

  it('keep its memory until the next generation has had time to begin, and no longer', () => {
    const { peer, pages } = countedPages();
    const windows = new Windows();
    windows.open(1, theirs, { plan, memory, pages });
    windows.close({ memory, pages, own });
    vi.advanceTimersByTime(900);
    expect(pages.release).not.toHaveBeenCalled();
    vi.advanceTimersByTime(200);
    expect(pages.release.mock.calls).toEqual([[peer]]);
    windows.close({ memory, pages, own });
    vi.runAllTimers();
    expect(pages.release).toHaveBeenCalledOnce();
  });

  it('are not opened on a memory that cannot be seen', () => {
    const { pages } = countedPages();
    pages.sees.mockReturnValue(false);
    const windows = new Windows();
    expect(windows.open(1, theirs, { plan, memory, pages })).toBe(false);
    expect([windows.reads(1), pages.open.mock.calls.length]).toEqual([false, 0]);
  });
});
