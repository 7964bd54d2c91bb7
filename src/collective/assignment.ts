/** Which rank holds which slots: neighbours stay together, and no rank holds two more than another. */
import { assert } from '../errors.js';

export interface SlotRange {
  readonly firstSlot: number;
  /** One past the last slot. */
  readonly endSlot: number;
}

/** The slots of each rank, for `worldSize` ≤ `numSlots`. */
export function assignSlots(numSlots: number, worldSize: number): SlotRange[] {
  assert(worldSize > 0 && worldSize <= numSlots, `${worldSize} workers cannot share out ${numSlots} slots`);
  return Array.from({ length: worldSize }, (_, rank) => ({
    firstSlot: Math.floor((rank * numSlots) / worldSize),
    endSlot: Math.floor(((rank + 1) * numSlots) / worldSize),
  }));
}

/**
 * The slots of those that are left, by rank: what a lost rank had goes to its neighbours, and no other slot moves. Shared
 * out so that the most that a rank then holds is as little as it can be.
 *
 * @param ranges of each rank before, one after the other
 * @param isLost by rank; at least one is left
 */
export function reassignSlots(ranges: readonly SlotRange[], isLost: readonly boolean[]): SlotRange[] {
  const numSlots = ranges.at(-1)?.endSlot ?? 0;
  const left = ranges.filter((_, rank) => isLost[rank] !== true);
  assert(left.length > 0, `None of ${ranges.length} workers is left to hold ${numSlots} slots`);
  let most = Math.max(...left.map(sizeOf), Math.ceil(numSlots / left.length));
  for (;;) {
    const shared = fillGaps(left, { numSlots, most });
    if (shared) return shared;
    most++;
  }
}

/** From the left, each takes what it may of the gap behind it; null where the rest is too much for the next. */
function fillGaps(
  left: readonly SlotRange[],
  { numSlots, most }: { readonly numSlots: number; readonly most: number },
): SlotRange[] | null {
  let firstSlot = 0;
  const shared = left.map((range, i) => {
    const next = left[i + 1];
    const endSlot = next ? Math.max(range.endSlot, Math.min(next.firstSlot, firstSlot + most)) : numSlots;
    const filled = { firstSlot, endSlot };
    firstSlot = endSlot;
    return filled;
  });
  return shared.every((range) => sizeOf(range) <= most) ? shared : null;
}

function sizeOf({ firstSlot, endSlot }: SlotRange): number {
  return endSlot - firstSlot;
}
