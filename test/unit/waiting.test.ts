import { describe, expect, it } from 'vitest';
import { AllReduce } from '../../src/collective/all-reduce.js';
import type { AllReduceEvent } from '../../src/collective/events.js';
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import { waiting } from '../../src/collective/waiting.js';

const step = 7;

/** Three workers with a slot each, on as many hosts, or two of them on one. */
function planOf(rank: number, hostIds = ['a', 'b', 'c']): AllReducePlan {
  return planAllReduce({
    ...{ generation: 1, rank, slots: hostIds.length },
    workers: hostIds.map((hostId, slot) => ({ hostId, firstSlot: slot, endSlot: slot + 1 })),
    segments: [{ reducedElements: 3 * 48, trainableElements: 3 * 48 }],
    ...{ bucketBytes: 48 * 4, hopBytes: 0 },
  });
}

/** Three workers of whom each owns a page of each of three buckets, and has to know the norm of all. */
function clippedPlanOf(rank: number): AllReducePlan {
  const elements = 3 * 1024;
  return planAllReduce({
    ...{ generation: 1, rank, slots: 3, sharded: true, judgesWhole: true, bucketBytes: elements * 4 },
    workers: [0, 1, 2].map((slot) => ({ hostId: `host ${slot}`, firstSlot: slot, endSlot: slot + 1 })),
    segments: [{ reducedElements: 3 * elements, trainableElements: 3 * elements }],
  });
}

/** All that comes to the rank, the first bucket's last. */
function framesOf(plan: AllReducePlan): AllReduceEvent[] {
  return plan.buckets.toReversed().flatMap(({ index: bucket, chunks }) =>
    chunks.flatMap(({ index: chunk, route: { partialsFrom, resultFrom: from } }): AllReduceEvent[] => [
      ...[...partialsFrom].map(([node, sender]) => {
        return { type: 'partial', from: sender, step, bucket, chunk, node } as const;
      }),
      ...(from === null ? [] : [{ type: 'result', from, step, bucket, chunk } as const]),
    ]),
  );
}

describe('what a step waits for', () => {
  it('is this worker itself, then others, then that all has left', () => {
    const plan = planOf(0);
    const machine = new AllReduce(plan, step);
    const heading = 'Step 7 is not committed: ';
    expect(waiting(plan, machine)).toBe(
      `${heading}bucket 0 of 3 waits for this worker's own gradient; 0 of 12 frames are here`,
    );
    for (const { index } of plan.buckets) machine.take({ type: 'ready', step, bucket: index });
    const from = 'waits for partials from rank 1, 2';
    expect(waiting(plan, machine)).toBe(`${heading}bucket 0 of 3 ${from}; 0 of 12 frames are here`);
    const frames = framesOf(plan);
    for (const frame of frames.slice(0, 8)) machine.take(frame);
    expect(waiting(plan, machine)).toBe(`${heading}bucket 0 of 3 ${from}; 8 of 12 frames are here`);
    for (const frame of frames.slice(8, 11)) machine.take(frame);
    expect(waiting(plan, machine)).toBe(
      `${heading}bucket 0 of 3 waits for results from rank 2; 11 of 12 frames are here`,
    );
    for (const frame of frames.slice(11)) machine.take(frame);
    expect(waiting(plan, machine)).toBe(`${heading}12 frames have not left`);
  });

  it('is who has not told its squares, before whose results are not here', () => {
    const plan = clippedPlanOf(0);
    const machine = new AllReduce(plan, step);
    const frames = framesOf(plan);
    for (const { index } of plan.buckets) machine.take({ type: 'ready', step, bucket: index });
    for (const frame of frames) if (frame.type === 'partial') machine.take(frame);
    const heading = 'Step 7 is not committed: ';
    machine.take({ type: 'squares', from: 1, step, segment: 0 });
    expect(waiting(plan, machine)).toBe(
      `${heading}bucket 0 of 3 waits for squares from rank 2; 7 of 14 frames are here`,
    );
    for (const frame of frames) if (frame.type === 'result') machine.take(frame);
    expect(waiting(plan, machine)).toBe(`${heading}the norm waits for squares from rank 2; 13 of 14 frames are here`);
    machine.take({ type: 'squares', from: 2, step, segment: 0 });
    expect(waiting(plan, machine)).toBe(`${heading}14 frames have not left`);
  });

  it.each([
    { way: 'straight', hostIds: ['a', 'b', 'c'] },
    { way: 'over two levels', hostIds: ['a', 'a', 'b', 'b'] },
  ])('is said in other words with each frame that comes $way', ({ hostIds }) => {
    for (const rank of hostIds.keys()) {
      const plan = planOf(rank, hostIds);
      const machine = new AllReduce(plan, step);
      for (const { index } of plan.buckets) machine.take({ type: 'ready', step, bucket: index });
      const words = [waiting(plan, machine)];
      for (const frame of framesOf(plan)) {
        machine.take(frame);
        words.push(waiting(plan, machine));
      }
      expect(words.length).toBeGreaterThan(9);
      expect(new Set(words).size, words.join('\n')).toBe(words.length);
    }
  });
});
