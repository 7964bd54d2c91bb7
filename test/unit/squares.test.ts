/** A sharded optimizer that depends on the whole gradient: when a rank tells the squares of its sums, and that nothing is made of a sum before all have. */
import { expect, it } from 'vitest';
import { AllReduce } from '../../src/collective/all-reduce.js';
import type { AllReduceEffect, AllReduceEvent } from '../../src/collective/events.js';
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import { planSquares } from '../../src/collective/squares.js';

const step = 4;
const pageElements = 1024;

/** Of whose last page no element is trainable. */
const threePages = { reducedElements: 3 * pageElements, trainableElements: 2 * pageElements };

/** Three workers, of whom each owns a page of each of two buckets. */
function planOf(rank: number, { segment = threePages, sharded = true } = {}): AllReducePlan {
  return planAllReduce({
    ...{ generation: 1, rank, slots: 3, sharded, judgesWhole: true, bucketBytes: 3 * pageElements * 4, hopBytes: 0 },
    workers: [0, 1, 2].map((slot) => ({ hostId: `host ${slot}`, firstSlot: slot, endSlot: slot + 1 })),
    segments: [segment, segment],
  });
}

const squares = (from: number, segment: number): Extract<AllReduceEvent, { type: 'squares' }> => {
  return { type: 'squares', from, step, segment };
};

/** What comes to rank 0 of a bucket: the partials of its chunk. */
function partials(bucket: number): AllReduceEvent[] {
  const [chunk] = planOf(0).buckets[bucket]?.chunks ?? [];
  return [...(chunk?.route.partialsFrom ?? [])].map(([node, from]) => {
    return { type: 'partial', from, step, bucket, chunk: 0, node };
  });
}

function typesOf(effects: readonly AllReduceEffect[]): string[] {
  return effects.map(({ type }) => type);
}

/** Rank 0 with its own gradients and all partials. */
function summed(): { machine: AllReduce; effects: AllReduceEffect[] } {
  const machine = new AllReduce(planOf(0), step);
  for (const bucket of [0, 1]) machine.take({ type: 'ready', step, bucket });
  const effects = [...partials(0), ...partials(1)].flatMap((event) => machine.take(event));
  return { machine, effects };
}

it('squares are told by who has sums, once it has all of them: one of each page, and whether each chunk is finite', () => {
  const told = summed().effects.filter(({ type }) => type === 'send-squares' || type === 'sum');
  expect(typesOf(told)).toEqual(['sum', 'sum', 'send-squares', 'send-squares']);
  expect(told).toMatchObject([{}, {}, { to: [1, 2], segment: 0 }, { to: [1, 2], segment: 1 }]);
  const shares = planSquares(planOf(0)).shares.map(({ rank, segment, count }) => [segment, rank, count]);
  expect(shares).toEqual([
    [0, 0, 2],
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 1, 2],
    [1, 2, 1],
  ]);
});

it('new weights are made, and sent, when everybody’s squares are here, and not before', () => {
  const { machine, effects } = summed();
  expect(typesOf(effects)).not.toContain('advance');
  expect(typesOf(effects)).not.toContain('send-result');
  for (const event of [squares(1, 1), squares(2, 0), squares(2, 1)]) expect(machine.take(event)).toEqual([]);
  expect(typesOf(machine.take(squares(1, 0)))).toEqual([
    'norm',
    ...['advance', 'complete', 'send-result'],
    ...['advance', 'complete', 'send-result'],
  ]);
});

it('a rank that owns nothing commits no step before it has everybody’s squares: they cannot come in the next one', () => {
  const elements = 2 * pageElements;
  const plan = planOf(0, { segment: { reducedElements: elements, trainableElements: elements } });
  const machine = new AllReduce(plan, step);
  for (const bucket of [0, 1]) machine.take({ type: 'ready', step, bucket });
  for (const to of [1, 2, 1, 2]) machine.take({ type: 'sent', to, step });
  for (const bucket of [0, 1]) {
    for (const from of [1, 2]) machine.take({ type: 'result', from, step, bucket, chunk: from - 1 });
  }
  const early = [squares(1, 0), squares(1, 1), squares(2, 0)].flatMap((event) => machine.take(event));
  expect(typesOf(early)).toEqual([]);
  expect(typesOf(machine.take(squares(2, 1)))).toEqual(['norm', 'commit']);
});

it.each([
  { what: 'twice', event: squares(1, 0), found: 'squares of segment 0' },
  { what: 'of a segment that there is not', event: squares(1, 2), found: 'squares of segment 2' },
  { what: 'of another step', event: { ...squares(1, 1), step: step + 1 }, found: 'squares of step 5' },
])('squares that come $what are refused', ({ event, found }) => {
  const { machine } = summed();
  machine.take(squares(1, 0));
  expect(() => {
    machine.check(event);
  }).toThrow(found);
});

it('squares are refused that cannot be there without this rank’s partials', () => {
  const machine = new AllReduce(planOf(0), step);
  machine.take({ type: 'ready', step, bucket: 0 });
  expect(() => {
    machine.check(squares(1, 0));
  }).toThrow('squares of step 4');
});

it('a run that is not sharded tells none', () => {
  const machine = new AllReduce(planOf(0, { sharded: false }), step);
  expect(machine.squares).toBeNull();
});
