/** Which parts of which buckets a pass writes, held against every element one by one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planBuckets } from '../../src/collective/buckets.js';
import { planLayout, type Layout } from '../../src/state/layout.js';
import { makeStepWords, StepWords } from '../../worker/comm/step-words.js';
import { Readiness } from '../../worker/readiness.js';

const arbitraryLayout = fc
  .record({
    sizes: fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 8 }),
    numTrainable: fc.nat(8),
    numFrozen: fc.nat(2),
    numScalars: fc.integer({ min: 1, max: 20 }),
  })
  .map(({ sizes, numTrainable, numFrozen, numScalars }) => {
    const parameters = sizes.map((size, index) => ({
      name: `p${index}`,
      shape: [size],
      trainable: index < numTrainable,
      ...(index >= numTrainable && index >= sizes.length - numFrozen && { frozen: true }),
    }));
    return planLayout(parameters, numScalars, { maxSegmentElements: 512 });
  });

function readinessOf(layout: Layout, bucketBytes: number) {
  const buckets = planBuckets(layout.segments, bucketBytes);
  const words = new StepWords(makeStepWords(0, buckets.length));
  return { buckets, words, readiness: new Readiness({ layout, buckets, words, waker: 0 }) };
}

describe('readiness', () => {
  test('has every element that a pass writes in the bucket that holds it, in order', () => {
    fc.assert(
      fc.property(arbitraryLayout, fc.constantFrom(64, 256, 4096), (layout, bucketBytes) => {
        const { buckets, readiness } = readinessOf(layout, bucketBytes);
        const { first, buckets: ofPieces, elements } = readiness.during(0);
        const bucketOf = (segment: number, at: number) =>
          buckets.find((b) => b.segment === segment && at >= b.offset && at < b.offset + b.elements)?.index;
        const naive = layout.parameters
          .filter(({ frozen }) => frozen !== true)
          .map(({ segment, offset, size }) => Array.from({ length: size }, (_, i) => bucketOf(segment, offset + i)));
        const found = Array.from(first.slice(0, -1), (from, output) =>
          Array.from(ofPieces.slice(from, first[output + 1]), (bucket, piece) =>
            Array.from({ length: elements[from + piece] ?? 0 }, () => bucket),
          ).flat(),
        );
        expect(found).toEqual([...Array.from({ length: layout.numScalars }, () => []), ...naive]);
      }),
    );
  });

  test('waits for every piece of a bucket, and for loss and metrics where it holds them', () => {
    fc.assert(
      fc.property(arbitraryLayout, fc.constantFrom(64, 256, 4096), (layout, bucketBytes) => {
        const { buckets, readiness } = readinessOf(layout, bucketBytes);
        const { buckets: ofPieces, numPieces } = readiness.during(0);
        const { segment, offset } = layout.scalars;
        for (const bucket of buckets) {
          const written = ofPieces.filter((index) => index === bucket.index).length;
          const end = bucket.offset + bucket.elements;
          const hasScalars = bucket.segment === segment && bucket.offset < offset + layout.numScalars && end > offset;
          expect(numPieces[bucket.index]).toBe(written + (hasScalars ? 1 : 0));
        }
      }),
    );
  });

  test('announces every bucket when a step is over, and wakes', async () => {
    const layout = planLayout([{ name: 'w', shape: [40], trainable: true }], 1);
    const { words, readiness } = readinessOf(layout, 64);
    expect(readiness.during(6).value).toBe(7);
    const woken = words.signalled(words.signal);
    readiness.finish(6);
    expect(await woken).toBe(true);
    expect([...words.bucketWords]).toEqual([7, 7, 7, 7]);
  });
});
