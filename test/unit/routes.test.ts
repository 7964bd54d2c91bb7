import { describe, expect, it } from 'vitest';
import { assignSlots } from '../../src/collective/assignment.js';
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';

interface Setting {
  readonly bytes: number;
  readonly numWorkers: number;
  readonly numSlots?: number;
  /** A letter for the host of each rank. */
  readonly hosts?: string;
}

/** The plans of all ranks for one bucket of so many bytes. */
function plansOf(options: Setting): AllReducePlan[] {
  const { bytes, numWorkers, numSlots = numWorkers, hosts = 'a'.repeat(numWorkers) } = options;
  const workers = assignSlots(numSlots, numWorkers).map((range, rank) => ({ ...range, hostId: hosts[rank] ?? '' }));
  const segments = [{ reducedElements: bytes / 4, trainableElements: bytes / 4 }];
  return workers.map((_, rank) =>
    planAllReduce({ generation: 1, rank, slots: numSlots, workers, segments, bucketBytes: bytes }),
  );
}

function isExchanged(options: Setting): boolean {
  return plansOf(options).every(({ buckets }) => buckets.every(({ chunks }) => chunks[0]?.owner === null));
}

const KiB = 1024;
const MiB = 1024 * KiB;

describe('a bucket is exchanged', () => {
  it.each([
    [1, 4 * MiB, true],
    [2, 64 * KiB, true],
    [2, 128 * KiB, false],
    [3, 64 * KiB, true],
    [8, 64 * KiB, true],
    [8, 128 * KiB, false],
    [64, 4 * KiB, true],
    [64, 64 * KiB, false],
  ])('between %i workers with %i bytes: %s', (numWorkers, bytes, expected) => {
    expect(isExchanged({ numWorkers, bytes })).toBe(expected);
  });

  it('between two workers of several tree nodes only if it is small', () => {
    expect(isExchanged({ numWorkers: 2, numSlots: 3, bytes: 4 * MiB })).toBe(false);
    expect(isExchanged({ numWorkers: 2, numSlots: 3, bytes: 64 * KiB })).toBe(true);
    expect(isExchanged({ numWorkers: 8, numSlots: 12, bytes: 64 * KiB })).toBe(false);
  });
});

describe('the routes of all ranks', () => {
  it.each([
    { numWorkers: 2, numSlots: 3, bytes: 4 * MiB },
    { numWorkers: 5, numSlots: 7, bytes: 4 * MiB },
    { numWorkers: 4, numSlots: 4, bytes: 64 * KiB },
    { numWorkers: 3, numSlots: 3, bytes: 4 * MiB },
    { numWorkers: 4, numSlots: 4, bytes: 4 * MiB, hosts: 'aabb' },
    { numWorkers: 6, numSlots: 11, bytes: 4 * MiB, hosts: 'aabbcc' },
  ])('fit together: $numWorkers workers, $numSlots slots, $bytes bytes', (options) => {
    const plans = plansOf(options);
    const routes = plans.map(({ buckets }) => buckets.flatMap(({ chunks }) => chunks.map(({ route }) => route)));
    for (const [rank, own] of routes.entries()) {
      for (const [chunk, { partialsTo, nodes, resultTo }] of own.entries()) {
        for (const to of partialsTo) {
          for (const { id } of nodes) expect(routes[to]?.[chunk]?.partialsFrom.get(id)).toBe(rank);
        }
        for (const to of resultTo) expect(routes[to]?.[chunk]?.resultFrom).toBe(rank);
      }
    }
    const count = (of: (route: (typeof routes)[0][0]) => number): number =>
      routes.flat().reduce((n, r) => n + of(r), 0);
    expect(count(({ partialsFrom }) => partialsFrom.size)).toBe(count((r) => r.partialsTo.length * r.nodes.length));
    expect(count(({ resultFrom }) => (resultFrom === null ? 0 : 1))).toBe(count(({ resultTo }) => resultTo.length));
  });
});

describe('over hosts', () => {
  /** Bytes that each rank sends to other hosts. */
  function networkBytes(options: Setting & { readonly hosts: string }): number[] {
    const { hosts } = options;
    return plansOf(options).map(({ rank, buckets }) =>
      buckets
        .flatMap(({ chunks }) => chunks)
        .reduce((sum, { elements, route: { partialsTo, nodes, resultTo } }) => {
          const isAway = (to: number): boolean => hosts[to] !== hosts[rank];
          return (
            sum + elements * 4 * (partialsTo.filter(isAway).length * nodes.length + resultTo.filter(isAway).length)
          );
        }, 0),
    );
  }

  it.each(['aabb', 'aaaabbbb', 'aabbccdd'])(
    '%s: the network carries each gradient once to and once from a host',
    (hosts) => {
      const numHosts = new Set(hosts).size;
      const perHost = hosts.length / numHosts;
      const found = networkBytes({ bytes: 8 * MiB, numWorkers: hosts.length, hosts });
      for (const bytes of found) expect(bytes).toBe((2 * (numHosts - 1) * 8 * MiB) / numHosts / perHost);
    },
  );

  it.each(['aaab', 'abab', 'abcd', 'aaaa'])('%s: there is one level, and everyone sends to all owners', (hosts) => {
    for (const { rank, buckets } of plansOf({ bytes: 4 * MiB, numWorkers: 4, hosts })) {
      const targets = buckets.flatMap(({ chunks }) => chunks.flatMap(({ route }) => route.partialsTo));
      expect(targets.toSorted()).toEqual([0, 1, 2, 3].filter((other) => other !== rank));
    }
  });
});
