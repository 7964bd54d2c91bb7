import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
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
            const chunks = own.flatMap(({ offset, elements: size }) => divide(offset, size, worldSize, 16));
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
    const lines = divide(0, 16 * 101, 4, 16).map(({ elements }) => elements / 16);
    expect(Math.max(...lines) - Math.min(...lines)).toBeLessThanOrEqual(1);
  });
});
