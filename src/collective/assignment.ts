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
