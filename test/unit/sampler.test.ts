import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { permutation, philox4x32, Sampler, type SamplerConfig } from '../../src/job/sampler.js';

const config: SamplerConfig = { rows: 100, batchSize: 8, slots: 2, seed: 0, shuffle: true, lastBatch: 'drop' };

/** Rows of a step, slot after slot. */
function stepRows(sampler: Sampler, step: number, slots: number): number[] {
  return Array.from({ length: slots }, (_, slot) => [...sampler.indices(step, slot)]).flat();
}

function epochRows(sampler: Sampler, epoch: number, slots: number): number[] {
  const firstStep = epoch * sampler.stepsPerEpoch;
  return Array.from({ length: sampler.stepsPerEpoch }, (_, i) => stepRows(sampler, firstStep + i, slots)).flat();
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

const anyConfig: fc.Arbitrary<SamplerConfig> = fc
  .record({
    rows: fc.integer({ min: 1, max: 1000 }),
    batch: fc.double({ min: 0, max: 1, noNaN: true }),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
    seed: fc.integer({ min: 0, max: 0xffff_ffff }),
    shuffle: fc.boolean(),
    lastBatch: fc.constantFrom('drop', 'keep'),
  })
  .map(({ rows, batch, part, ...rest }) => {
    const batchSize = 1 + Math.floor(batch * (rows - 1));
    return { rows, batchSize, slots: 1 + Math.floor(part * (batchSize - 1)), ...rest };
  });

describe('Sampler', () => {
  test('uses each kept row exactly once per epoch, for any rows, batch size, slots and seed', () => {
    fc.assert(
      fc.property(anyConfig, fc.integer({ min: 0, max: 5 }), (anyOf, epoch) => {
        const sampler = new Sampler(anyOf);
        const used = epochRows(sampler, epoch, anyOf.slots);
        const kept = anyOf.lastBatch === 'keep' ? anyOf.rows : sampler.stepsPerEpoch * anyOf.batchSize;
        expect(used).toHaveLength(kept);
        expect(new Set(used).size).toBe(kept);
        expect(used.every((row) => row < anyOf.rows)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('gives a step the same rows in the same order for any number of slots', () => {
    fc.assert(
      fc.property(anyConfig, fc.nat(50), (anyOf, step) => {
        const whole = new Sampler({ ...anyOf, slots: 1 });
        expect(stepRows(new Sampler(anyOf), step, anyOf.slots)).toEqual([...whole.indices(step, 0)]);
      }),
      { numRuns: 300 },
    );
  });

  test('gives slots that differ by one row at most and add up to the batch', () => {
    fc.assert(
      fc.property(anyConfig, fc.nat(50), (anyOf, step) => {
        const sampler = new Sampler(anyOf);
        const sizes = range(anyOf.slots).map((slot) => sampler.indices(step, slot).length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(sizes.reduce((sum, size) => sum + size)).toBe(sampler.batchRows(step));
      }),
    );
  });

  test('gives the same rows whichever step is asked for first', () => {
    const forward = new Sampler(config);
    const inOrder = range(30).map((step) => [...forward.indices(step, 1)]);
    const backward = new Sampler(config);
    const reversed = range(30).map((step) => [...backward.indices(29 - step, 1)]);
    expect(reversed.reverse()).toEqual(inOrder);
  });

  test('reads the rows in file order when it does not shuffle', () => {
    const sampler = new Sampler({ ...config, rows: 1797, batchSize: 64, slots: 1, shuffle: false });
    expect(sampler.stepsPerEpoch).toBe(28);
    expect([...sampler.indices(1, 0)]).toEqual(range(64).map((i) => 64 + i));
    expect([...sampler.indices(28, 0)]).toEqual(range(64));
  });

  test('uses another order in each epoch and for each seed', () => {
    const orders = [0, 1, 2].map((epoch) => epochRows(new Sampler(config), epoch, 2).join());
    const otherSeed = epochRows(new Sampler({ ...config, seed: 1 }), 0, 2).join();
    expect(new Set([...orders, otherSeed]).size).toBe(4);
  });

  test('drops other rows in each epoch', () => {
    const sampler = new Sampler({ ...config, rows: 99 });
    const dropped = [0, 1, 2].map((epoch) => {
      const used = new Set(epochRows(sampler, epoch, 2));
      return range(99)
        .filter((row) => !used.has(row))
        .join();
    });
    expect(new Set(dropped).size).toBe(3);
  });

  test('counts epochs and steps from 0', () => {
    const sampler = new Sampler(config);
    expect(sampler.stepsPerEpoch).toBe(12);
    expect(sampler.position(0)).toEqual({ epoch: 0, stepInEpoch: 0 });
    expect(sampler.position(11)).toEqual({ epoch: 0, stepInEpoch: 11 });
    expect(sampler.position(25)).toEqual({ epoch: 2, stepInEpoch: 1 });
  });

  test('keeps a smaller last batch, and leaves slots empty where it has fewer rows than slots', () => {
    const sampler = new Sampler({ ...config, rows: 10, batchSize: 4, slots: 4, lastBatch: 'keep' });
    expect(sampler.stepsPerEpoch).toBe(3);
    expect([0, 1, 2, 3].map((step) => sampler.batchRows(step))).toEqual([4, 4, 2, 4]);
    expect(range(4).map((slot) => sampler.indices(2, slot).length)).toEqual([0, 1, 0, 1]);
  });

  test('divides a batch that the slots do not divide evenly', () => {
    const sampler = new Sampler({ ...config, batchSize: 10, slots: 4, shuffle: false });
    expect(range(4).map((slot) => [...sampler.indices(0, slot)])).toEqual([
      [0, 1],
      [2, 3, 4],
      [5, 6],
      [7, 8, 9],
    ]);
  });

  test.each([
    ['a batch smaller than the slots', { batchSize: 2, slots: 3 }, /batchSize \(2\).*slots \(3\)/],
    ['no rows', { rows: 0 }, /no rows/],
    ['fewer rows than a batch', { rows: 7 }, /7 rows.*batchSize 8.*keep/],
    ['more rows than 32 bits number', { rows: 2 ** 32 + 1 }, /4294967297 rows/],
  ])('refuses %s with the numbers in the message', (_, change, message) => {
    expect(() => new Sampler({ ...config, ...change })).toThrow(
      expect.objectContaining({ code: 'ERR_JOB_INVALID', message: expect.stringMatching(message) as string }),
    );
  });
});

describe('permutation', () => {
  // From a Python implementation written from the head of sampler.ts, with Python's unbounded integers.
  test.each([
    [{ size: 10, seed: 0, use: 'epoch' as const, number: 0 }, [1, 7, 4, 2, 3, 5, 0, 8, 9, 6]],
    [{ size: 10, seed: 0, use: 'epoch' as const, number: 1 }, [9, 1, 2, 4, 3, 8, 5, 7, 0, 6]],
    [{ size: 10, seed: 1, use: 'epoch' as const, number: 0 }, [6, 7, 3, 5, 2, 1, 4, 8, 9, 0]],
    [{ size: 10, seed: 0, use: 'split' as const, number: 0 }, [6, 0, 1, 4, 8, 3, 5, 2, 9, 7]],
    [
      { size: 1797, seed: 42, use: 'epoch' as const, number: 3 },
      [1396, 417, 1197, 1036, 1475, 727, 725, 1367, 1411, 264],
    ],
    [
      { size: 2 ** 32, seed: 0xffff_ffff, use: 'epoch' as const, number: 7 },
      [
        3376743313, 1464531197, 270891059, 4020428922, 2832909519, 3741737688, 348760592, 585714811, 1677007485,
        3033445565,
      ],
    ],
  ])('has the golden values for %o', (which, golden) => {
    const rowAt = permutation(which);
    expect(range(10).map(rowAt)).toEqual(golden);
  });

  test('is a bijection', () => {
    const sizes = fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constantFrom(4096, 4097, 65_535, 65_537));
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 0xffff_ffff }), (size, seed) => {
        const rowAt = permutation({ size, seed, use: 'epoch' });
        const seen = new Uint8Array(size);
        for (let position = 0; position < size; position++) seen[rowAt(position)] = 1;
        expect(seen.every((mark) => mark === 1)).toBe(true);
      }),
    );
  });

  test('has all orders of five rows equally often, over many seeds', () => {
    const numSeeds = 120_000;
    const counts = new Map<string, number>();
    for (let seed = 0; seed < numSeeds; seed++) {
      const order = range(5)
        .map(permutation({ size: 5, seed, use: 'epoch' }))
        .join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(120);
    // 119 degrees of freedom: above 180 has a probability of 0.0003, and the seeds are fixed.
    expect(chiSquare([...counts.values()], numSeeds / 120)).toBeLessThan(180);
  });

  test('puts each of 97 rows at each position equally often, over many epochs', () => {
    const numEpochs = 9700;
    const counts = new Array<number>(97 * 97).fill(0);
    for (let epoch = 0; epoch < numEpochs; epoch++) {
      const rowAt = permutation({ size: 97, seed: 1, use: 'epoch', number: epoch });
      for (let position = 0; position < 97; position++) {
        const cell = position * 97 + rowAt(position);
        counts[cell] = (counts[cell] ?? 0) + 1;
      }
    }
    // 96² = 9216 degrees of freedom, standard deviation 136: four of them above.
    expect(chiSquare(counts, numEpochs / 97)).toBeLessThan(9216 + 4 * 136);
  });
});

// Known answers of Random123 (tests/kat_vectors, philox4x32 10).
test.each([
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
] as [[number, number, number, number], [number, number], number[]][])(
  'philox4x32 of counter %j and key %j is the known answer',
  (counter, key, answer) => {
    expect(philox4x32(counter, key)).toEqual(answer);
  },
);

function chiSquare(counts: readonly number[], expected: number): number {
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}
