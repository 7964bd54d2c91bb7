import { describe, expect, it } from 'vitest';
import { assignSlots } from '../../src/collective/assignment.js';
import { planAllReduce } from '../../src/collective/plan.js';
import { sumSquares } from '../../src/kernels/reference.js';
import { sgd } from '../../src/optimizer/config.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { gradientNorm } from '../../worker/comm/gradient-norm.js';
import { Places } from '../../worker/comm/places.js';
import { planRegions, RESULTS, slotRegion } from '../../worker/comm/regions.js';
import { Sums } from '../../worker/comm/sums.js';

const slots = 5;
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
    ...{ generation: 1, rank: 0, slots, workers, segments, bucketBytes: 16_384, sharesMemory: true },
  });
  const memory = FlatMemory.create(layout, planRegions({ layout, plan, optimizer: sgd() }));
  for (const [segment, { reducedElements }] of segments.entries()) {
    // One worker sums its slots, all but one of which are zeros; several have the sums of all.
    const view = memory.view(numWorkers === 1 ? slotRegion(0) : RESULTS, segment);
    for (let i = 0; i < reducedElements; i++) view[i] = valueAt(segment, i);
  }
  return gradientNorm({ plan, memory, sums: new Sums(plan, memory, new Places(plan, memory)) }, 0);
}

describe('the norm of a gradient', () => {
  it('has the same bits for any number of workers: those of one sum over each segment, in order', () => {
    const squares = layout.segments.reduce((total, { trainableElements }, segment) => {
      const sums = new Float64Array(8);
      sumSquares(
        sums,
        Float32Array.from({ length: trainableElements }, (_, i) => valueAt(segment, i)),
      );
      return total + sums.reduce((sum, one) => sum + one, 0);
    }, 0);
    expect(layout.segments.length).toBeGreaterThan(1);
    expect([1, 2, 3, 4, 5].map(normOf)).toEqual([1, 2, 3, 4, 5].map(() => Math.sqrt(squares)));
  });
});
