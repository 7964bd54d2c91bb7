/** The memory of a run holds what any of its generations touches. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planAllReduce } from '../../src/collective/plan.js';
import { heaviestCover, coveringNodes, reductionTree } from '../../src/collective/tree.js';
import { adam } from '../../src/optimizer/config.js';
import { planLayout } from '../../src/state/layout.js';
import { planRegions } from '../../worker/comm/regions.js';
import { judgesWhole } from '../../worker/comm/generation-plan.js';
import { maxSegmentElements, reserveRegions } from '../../worker/comm/reservation.js';

/** Any shares of neighbouring slots, on any hosts. */
const memberships = fc.integer({ min: 1, max: 16 }).chain((slots) =>
  fc.record({
    slots: fc.constant(slots),
    cuts: fc.uniqueArray(fc.integer({ min: 1, max: slots }), { maxLength: slots }),
    perHost: fc.integer({ min: 1, max: 4 }),
  }),
);

describe('the memory of a run', () => {
  test('has room for any generation', () => {
    const settings = fc.record({
      membership: memberships,
      sizes: fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 3 }),
      bucketBytes: fc.constantFrom(256, 16_384, 65_536, 262_144),
      hopBytes: fc.constantFrom(-1, 20_000, 2 ** 30),
      wire: fc.constantFrom('float32', 'bfloat16'),
      sharded: fc.boolean(),
      clipNorm: fc.constantFrom(undefined, 1),
      onNotFinite: fc.constantFrom('stop', 'skip'),
    });
    fc.assert(
      fc.property(
        settings,
        ({ membership: { slots, cuts, perHost }, sizes, sharded, clipNorm, onNotFinite, ...way }) => {
          const parameters = sizes.map((size, i) => ({ name: `p${i}`, shape: [size], trainable: i % 2 === 0 }));
          const layout = planLayout(parameters, 3, { maxSegmentElements: 60_000 });
          const bounds = [...new Set([0, ...cuts, slots])].toSorted((a, b) => a - b);
          const workers = bounds.slice(0, -1).map((firstSlot, rank) => ({
            firstSlot,
            endSlot: bounds[rank + 1] ?? slots,
            hostId: `host ${Math.floor(rank / perHost)}`,
          }));
          const optimizer = adam({ sharded, clipNorm });
          const reserved = new Map(
            reserveRegions(layout, { ...way, slots, optimizer, onNotFinite }).map(({ name, elements }) => [
              name,
              elements,
            ]),
          );
          const { segments } = layout;
          for (const rank of workers.keys()) {
            const plan = planAllReduce({
              generation: 1,
              rank,
              slots,
              workers,
              segments,
              ...way,
              sharded,
              judgesWhole: judgesWhole({ optimizer, onNotFinite }),
            });
            for (const { name, elements } of planRegions({ layout, plan, optimizer })) {
              const room = reserved.get(name);
              elements.forEach((needed, segment) => {
                expect(needed, `${name} of rank ${rank}`).toBeLessThanOrEqual(
                  room?.[segment] ?? (needed === 0 ? 0 : -1),
                );
              });
            }
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test.each([1, 2, 3, 4, 5, 7, 8, 13, 16])('knows the most tree nodes that a share of %i slots takes', (slots) => {
    const tree = reductionTree(slots);
    const shares = Array.from({ length: slots }, (_, first) =>
      Array.from({ length: slots - first }, (__, more) => coveringNodes(tree, first, first + more + 1)),
    ).flat();
    const most = Math.max(0, ...shares.filter(([node]) => node !== tree).map(({ length }) => length));
    expect(heaviestCover(tree, () => 1)).toBe(most);
  });

  test.each([
    { slots: 1, elements: 250_000_000 },
    { slots: 4, elements: 80_000_000 },
    { slots: 8, elements: 50_000_000 },
    { slots: 64, elements: 10_000_000 },
  ])('takes segments of $elements elements with $slots slots', ({ slots, elements }) => {
    const options = {
      slots,
      wire: 'float32',
      optimizer: adam(),
      onNotFinite: 'stop',
      bucketBytes: 4 * 2 ** 20,
    } as const;
    const longest = maxSegmentElements(options);
    expect(longest).toBeGreaterThan(elements);
    const segment = { elements: longest, trainableElements: longest, reducedElements: longest };
    const regions = reserveRegions({ segments: [segment] }, options);
    const bytes = regions.reduce((sum, one) => sum + Math.ceil((4 * (one.elements[0] ?? 0)) / 4096) * 4096, 0);
    expect(bytes).toBeLessThanOrEqual(2 ** 32);
  });
});
