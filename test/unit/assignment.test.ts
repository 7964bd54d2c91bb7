import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assignSlots, reassignSlots, type SlotRange } from '../../src/collective/assignment.js';

const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 });
/** Ranges one after the other, and which of their ranks are lost: not all. */
const losses = sizes.chain((widths) =>
  fc
    .array(fc.boolean(), { minLength: widths.length, maxLength: widths.length })
    .filter((isLost) => isLost.includes(false))
    .map((isLost) => ({ ranges: consecutive(widths), isLost })),
);

describe('assignSlots', () => {
  it('shares out all slots, neighbours together, and gives nobody two more than another', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 12 }), (slots, workers) => {
        fc.pre(workers <= slots);
        const ranges = assignSlots(slots, workers);
        expect(holders(ranges)).toHaveLength(slots);
        const widths = ranges.map(sizeOf);
        expect(Math.max(...widths) - Math.min(...widths)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('refuses more workers than slots', () => {
    expect(() => assignSlots(2, 3)).toThrow('3 workers cannot share out 2 slots');
  });
});

describe('reassignSlots', () => {
  it.each([
    ['in the middle: both neighbours take half', [2, 2, 2], [1], [3, 3]],
    ['at the begin: the next takes all', [1, 1, 1], [0], [2, 1]],
    ['at the end: the one before takes all', [1, 1, 1], [2], [1, 2]],
    ['beside one that has more already', [1, 2, 3], [1], [3, 3]],
    ['two beside each other', [2, 2, 2, 2], [1, 2], [4, 4]],
    ['two apart: the one between takes from either side', [1, 1, 1, 1, 1], [1, 3], [2, 2, 1]],
    ['all but one', [1, 1, 1], [0, 2], [3]],
  ])('%s', (_, before, lost, after) => {
    const isLost = before.map((__, rank) => lost.includes(rank));
    expect(reassignSlots(consecutive(before), isLost).map(sizeOf)).toEqual(after);
  });

  it('moves no slot of those that are left', () => {
    fc.assert(
      fc.property(losses, ({ ranges, isLost }) => {
        const survivors = ranges.flatMap((range, rank) => (isLost[rank] === true ? [] : [range]));
        const after = reassignSlots(ranges, isLost);
        expect(holders(after)).toHaveLength(holders(ranges).length);
        for (const [i, { firstSlot, endSlot }] of after.entries()) {
          expect(firstSlot).toBeLessThanOrEqual(survivors[i]?.firstSlot ?? NaN);
          expect(endSlot).toBeGreaterThanOrEqual(survivors[i]?.endSlot ?? NaN);
        }
      }),
    );
  });

  it('leaves the busiest with as little as any such sharing does', () => {
    fc.assert(
      fc.property(losses, ({ ranges, isLost }) => {
        const busiest = Math.max(...reassignSlots(ranges, isLost).map(sizeOf));
        expect(busiest).toBe(Math.min(...allSharings(ranges, isLost).map((widths) => Math.max(...widths))));
      }),
    );
  });
});

/** The naive version: each split of each gap. */
function allSharings(ranges: readonly SlotRange[], isLost: readonly boolean[]): number[][] {
  let sharings: number[][] = [[]];
  let gap = 0;
  for (const [rank, range] of ranges.entries()) {
    if (isLost[rank] === true) {
      gap += sizeOf(range);
      continue;
    }
    const splits = Array.from({ length: gap + 1 }, (_, toLeft) => [toLeft, gap - toLeft] as const);
    const isFirst = sharings[0]?.length === 0;
    sharings = sharings.flatMap((widths) =>
      splits
        .filter(([toLeft]) => !isFirst || toLeft === 0)
        .map(([toLeft, toRight]) => [
          ...widths.slice(0, -1),
          ...widths.slice(-1).map((width) => width + toLeft),
          sizeOf(range) + toRight,
        ]),
    );
    gap = 0;
  }
  return sharings.map((widths) => [...widths.slice(0, -1), (widths.at(-1) ?? 0) + gap]);
}

function consecutive(widths: readonly number[]): SlotRange[] {
  let firstSlot = 0;
  return widths.map((width) => ({ firstSlot, endSlot: (firstSlot += width) }));
}

/** The rank of each slot; fails where ranges do not follow one another. */
function holders(ranges: readonly SlotRange[]): number[] {
  return ranges.flatMap((range, rank) => {
    expect(range.firstSlot).toBe(ranges[rank - 1]?.endSlot ?? 0);
    expect(sizeOf(range)).toBeGreaterThan(0);
    return Array.from({ length: sizeOf(range) }, () => rank);
  });
}

function sizeOf({ firstSlot, endSlot }: SlotRange): number {
  return endSlot - firstSlot;
}
