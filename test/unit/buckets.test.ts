import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assignSlots } from '../../src/collective/assignment.js';
import { divide, planBuckets } from '../../src/collective/buckets.js';

const segments = fc.array(
  fc.tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 0, max: 400 })).map(([lines, trainable]) => ({
    reducedElements: lines * 16,
    trainableElements: Math.min(lines, trainable) * 16,
  })),
  { minLength: 1, maxLength: 4 },
);

describe('planBuckets', () => {
  it('covers every element of every segment once, in parts of whole cache lines', () => {
    fc.assert(
      fc.property(
        segments,
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9000 }),
        (plan, worldSize, bytes) => {
          const buckets = planBuckets(plan, bytes);
          for (const [segment, { reducedElements: elements, trainableElements }] of plan.entries()) {
            const own = buckets.filter((bucket) => bucket.segment === segment);
            const chunks = own.flatMap(({ offset, elements: size }) => divide(offset, size, worldSize));
            let next = 0;
            for (const chunk of chunks) {
              expect(chunk.offset).toBe(next);
              expect(chunk.elements % 16).toBe(0);
              next += chunk.elements;
            }
            expect(next).toBe(elements);
            expect(own.reduce((sum, bucket) => sum + bucket.trainableElements, 0)).toBe(trainableElements);
          }
          expect(buckets.map(({ index }) => index)).toEqual(buckets.map((_, index) => index));
        },
      ),
    );
  });

  it('gives each rank a share that differs by one cache line at most', () => {
    const lines = divide(0, 16 * 101, 4).map(({ elements }) => elements / 16);
    expect(Math.max(...lines) - Math.min(...lines)).toBeLessThanOrEqual(1);
  });
});

describe('assignSlots', () => {
  it('shares out all slots as neighbours, none with two more than another', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 200 }), (slots, workers) => {
        fc.pre(workers <= slots);
        const ranges = assignSlots(slots, workers);
        expect(ranges[0]?.firstSlot).toBe(0);
        expect(ranges.at(-1)?.endSlot).toBe(slots);
        for (const [rank, range] of ranges.entries()) {
          if (rank > 0) expect(range.firstSlot).toBe(ranges[rank - 1]?.endSlot);
        }
        const sizes = ranges.map(({ firstSlot, endSlot }) => endSlot - firstSlot);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(Math.min(...sizes)).toBeGreaterThan(0);
      }),
    );
  });

  it('refuses more workers than slots', () => {
    expect(() => assignSlots(2, 3)).toThrow('3 workers cannot share out 2 slots');
  });
});
