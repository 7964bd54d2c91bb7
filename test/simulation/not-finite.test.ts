/** NaN and infinities in gradients: every worker sees them before anything is applied, and all do the same. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooser, World, type Planted, type WorldOptions } from './world.js';

const numSteps = 4;

const worlds = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 6 }),
  numSlots: fc.integer({ min: 1, max: 7 }),
  workers: fc.nat(6),
  bucketBytes: fc.constantFrom(64, 256, 4096),
  hopBytes: fc.constantFrom(-1, 700, 2 ** 30),
  wire: fc.constantFrom('float32' as const, 'bfloat16' as const),
  seed: fc.integer(),
  at: fc.record({
    step: fc.nat(numSteps - 1),
    slot: fc.nat(6),
    element: fc.nat(),
    value: fc.constantFrom(NaN, Infinity, -Infinity),
  }),
});
type Case = typeof worlds extends fc.Arbitrary<infer T> ? T : never;

interface Place {
  readonly segment: number;
  readonly element: number;
  /** What an error calls it. */
  readonly what: string;
}

/** Everything that has to be finite, in the order of the flat state. */
function placesIn({ layout }: World): Place[] {
  const { parameters, scalars } = layout;
  const reduced = parameters.flatMap(({ name, trainable, frozen, segment, offset, size }) => {
    const what = `${trainable ? 'the gradient of' : 'the average'} ${name}`;
    return frozen === true ? [] : Array.from({ length: size }, (_, i) => ({ segment, element: offset + i, what }));
  });
  return [...reduced, { segment: scalars.segment, element: scalars.offset, what: 'the loss' }];
}

function run(
  { workers, at, seed, ...rest }: Case,
  how: Pick<WorldOptions, 'onNotFinite' | 'sharded' | 'clipNorm'>,
  plant: (place: Place, slot: number) => Planted,
): { world: World; place: Place; slot: number } {
  const options = { ...rest, ...how, numWorkers: 1 + (workers % rest.numSlots) };
  const places = placesIn(new World(options));
  const place = places[at.element % places.length];
  const slot = at.slot % rest.numSlots;
  if (!place) throw new Error('a world has a loss at least');
  const world = new World({ ...options, planted: plant(place, slot) });
  world.run(numSteps, chooser(seed));
  return { world, place, slot };
}

/** One value that is not finite, in one slot at one step. */
const inOneSlot =
  ({ at }: Case) =>
  ({ segment, element }: Place, slot: number): Planted =>
  (...where) =>
    [at.step, slot, segment, element].every((one, i) => one === where[i]) ? at.value : undefined;

function expectState(world: World, steps: number, skipped: readonly number[] = []): void {
  const { parameters, moments } = world.expected(steps, skipped);
  for (const worker of world.workers) {
    expect(world.parameters(worker)).toEqual(parameters);
    if (!worker.plan.isSharded) expect(world.moments(worker)).toEqual(moments);
  }
}

const optimizers = [{ sharded: false }, { sharded: true }, { sharded: true, clipNorm: 1e3 }];

describe('a step whose sums are not finite', () => {
  it.each(optimizers)('stops every worker before it, with the slot and the first parameter; %o', (optimizer) => {
    fc.assert(
      fc.property(worlds, (one) => {
        const { world, place, slot } = run(one, { ...optimizer, onNotFinite: 'stop' }, inOneSlot(one));
        for (const { machine, slots } of world.workers) {
          const { committed, notFinite } = machine;
          expect(committed).toBe(one.at.step);
          const mine = slot >= slots.firstSlot && slot < slots.endSlot ? slot : null;
          expect(notFinite).toEqual([{ step: one.at.step, what: place.what, slot: mine }]);
        }
        expectState(world, one.at.step);
      }),
      { numRuns: 100 },
    );
  });

  it.each(optimizers)(
    'changes nothing but loss and metrics where it is skipped, and the steps after it go on; %o',
    (optimizer) => {
      fc.assert(
        fc.property(worlds, (one) => {
          const { world } = run(one, { ...optimizer, onNotFinite: 'skip' }, inOneSlot(one));
          for (const { machine } of world.workers) {
            const { committed, notFinite } = machine;
            expect(committed).toBe(numSteps);
            expect(notFinite.map(({ step }) => step)).toEqual([one.at.step]);
          }
          expectState(world, numSteps, [one.at.step]);
        }),
        { numRuns: 100 },
      );
    },
  );

  it('is one too where slots are finite and their sum is not', () => {
    const large = ({ segment, element }: Place): Planted => {
      return (step, _slot, s, e) => (step === 1 && s === segment && e === element ? 3e38 : undefined);
    };
    fc.assert(
      fc.property(worlds, (one) => {
        fc.pre(one.numSlots > 1);
        const { world, place } = run({ ...one, wire: 'float32' }, { onNotFinite: 'stop' }, large);
        for (const { machine } of world.workers) {
          const { committed, notFinite } = machine;
          expect([committed, notFinite]).toEqual([1, [{ step: 1, what: place.what, slot: null }]]);
        }
        expectState(world, 1);
      }),
      { numRuns: 50 },
    );
  });
});

it('a metric may be NaN', () => {
  const options = { sizes: [30, 4], numSlots: 3, numWorkers: 2, bucketBytes: 256 };
  const { scalars } = new World(options).layout;
  const isMetric = (segment: number, element: number) => segment === scalars.segment && element === scalars.offset + 1;
  const planted: Planted = (_step, slot, ...at) => (slot === 1 && isMetric(...at) ? NaN : undefined);
  const world = new World({ ...options, planted });
  world.run(numSteps, chooser(3));
  expect(world.workers.map(({ machine }) => [machine.committed, machine.notFinite])).toEqual([
    [numSteps, []],
    [numSteps, []],
  ]);
});
