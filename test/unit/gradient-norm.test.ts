import { describe, expect, it } from 'vitest';
import { assignSlots } from '../../src/collective/assignment.js';
import { pageElements, planBuckets } from '../../src/collective/buckets.js';
import { planAllReduce } from '../../src/collective/plan.js';
import { sumSquares } from '../../src/kernels/reference.js';
import { planSquares } from '../../src/collective/squares.js';
import { sgd } from '../../src/optimizer/config.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { gradientNorm } from '../../worker/comm/gradient-norm.js';
import { Places } from '../../worker/comm/places.js';
import { planRegions, RESULTS, slotRegion } from '../../worker/comm/regions.js';
import { Squares } from '../../worker/comm/squares.js';
import { Sums } from '../../worker/comm/sums.js';

const slots = 5;
const bucketBytes = 16_384;
const parameters = [9_001, 3_777, 12_345, 6].map((size, index) => ({
  name: `p${index}`,
  shape: [size],
  trainable: true,
}));
const layout = planLayout([...parameters, { name: 'mean', shape: [50], trainable: false }], 2, {
  maxSegmentElements: 14_000,
});

/** Values of very different sizes: another order of additions has another last bit. */
const valueAt = (segment: number, i: number): number => Math.fround(Math.sin(i * 1.7 + segment) * 10 ** ((i % 7) - 3));

function normOf(numWorkers: number): number {
  const workers = assignSlots(slots, numWorkers).map((range) => ({ ...range, hostId: 'host' }));
  const { segments } = layout;
  const plan = planAllReduce({
    ...{ generation: 1, rank: 0, slots, workers, segments, bucketBytes, sharesMemory: true },
  });
  const memory = FlatMemory.create(layout, planRegions({ layout, plan, optimizer: sgd() }));
  for (const [segment, { reducedElements }] of segments.entries()) {
    // One worker sums its slots, all but one of which are zeros; several have the sums of all.
    const view = memory.view(numWorkers === 1 ? slotRegion(0) : RESULTS, segment);
    for (let i = 0; i < reducedElements; i++) view[i] = valueAt(segment, i);
  }
  return gradientNorm({ plan, memory, sums: new Sums(plan, memory, new Places(plan, memory)) }, 0);
}

/** The norm that rank 0 makes of what all tell, each of the sums that it owns. */
function sharedNormOf(numWorkers: number): number {
  const workers = assignSlots(slots, numWorkers).map((range) => ({ ...range, hostId: 'host' }));
  const { segments } = layout;
  const setting = { generation: 1, slots, workers, segments, bucketBytes, sharded: true, judgesWhole: true };
  const ranks = workers.map((_, rank) => {
    const plan = planAllReduce({ ...setting, rank });
    const memory = FlatMemory.create(layout, planRegions({ layout, plan, optimizer: sgd() }));
    for (const [segment, { reducedElements }] of segments.entries()) {
      const view = memory.view(RESULTS, segment);
      for (let i = 0; i < reducedElements; i++) view[i] = valueAt(segment, i);
    }
    const places = new Places(plan, memory);
    const squares = new Squares({ plan, memory, places, sums: new Sums(plan, memory, places) });
    for (const bucket of plan.buckets) {
      for (const chunk of bucket.chunks) if (chunk.owner === rank) squares.take(bucket, chunk, true);
    }
    return { plan, memory, squares };
  });
  const [first] = ranks;
  if (!first) return NaN;
  for (const { rank, segment } of planSquares(first.plan).shares) {
    const [told, here] = [ranks[rank], first].map((one) => {
      const { address, numBytes } = one?.squares.share(rank, segment) ?? { address: 0, numBytes: 0 };
      return one?.memory.bytes(segment, address, numBytes);
    });
    here?.set(told ?? []);
  }
  return first.squares.norm();
}

function squaresOf(segment: number, offset: number, elements: number): number {
  const sums = new Float64Array(8);
  sumSquares(
    sums,
    Float32Array.from({ length: elements }, (_, i) => valueAt(segment, offset + i)),
  );
  return sums.reduce((sum, one) => sum + one, 0);
}

describe('the norm of a gradient', () => {
  it('has the same bits for any number of workers, sharded or not: those of the sum of each page, added in the order of the buckets', () => {
    const squares = planBuckets(layout.segments, bucketBytes).reduce(
      (total, { segment, offset, trainableElements }) => {
        const numPages = Math.ceil(trainableElements / pageElements);
        return Array.from({ length: numPages }, (_, page) => page * pageElements).reduce((sum, start) => {
          const elements = Math.min(pageElements, trainableElements - start);
          return sum + squaresOf(segment, offset + start, elements);
        }, total);
      },
      0,
    );
    expect(layout.segments.length).toBeGreaterThan(1);
    expect([1, 2, 3, 4, 5].map(normOf)).toEqual([1, 2, 3, 4, 5].map(() => Math.sqrt(squares)));
    expect([2, 3, 4, 5].map(sharedNormOf)).toEqual([2, 3, 4, 5].map(() => Math.sqrt(squares)));
  });
});
