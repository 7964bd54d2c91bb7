/** The collective that workers run, over a virtual network: test/simulation/world.ts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WireFormat } from '../../src/collective/wire.js';
import type { LockstepError } from '../../src/errors.js';
import { decodeFrameHeader, encodeFrameHeader, frameHeaderBytes, type FrameHeader } from '../../src/protocol/frame.js';
import { sgd } from '../../src/optimizer/config.js';
import { planRegions } from '../../worker/comm/regions.js';
import { SharedPages } from '../../worker/comm/shared-pages.js';
import { findSharedPages } from '../../worker/compute/engine/native-build.js';
import { chooser, deliver, World, type WorldOptions } from './world.js';

/** Where there is no engine there is none. */
const addon = findSharedPages();

const worlds = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 6 }),
  numSlots: fc.integer({ min: 1, max: 9 }),
  workers: fc.nat(8),
  bucketBytes: fc.constantFrom(64, 192, 256, 4096),
  seed: fc.integer(),
});

function expectSameBits(options: WorldOptions, seed: number, numSteps: number): World {
  const world = new World(options);
  world.run(numSteps, chooser(seed));
  world.close();
  expectBits(world, numSteps);
  return world;
}

/** Workers are lost, two times at most, at any moment. */
function expectSameBitsDespiteLosses(options: WorldOptions, seed: number, numSteps: number): World {
  const world = new World(options);
  const choose = chooser(seed);
  for (let losses = 0; losses < 2 && world.workers.length > 1; losses++) {
    world.run(numSteps, choose, choose(400));
    const survivor = choose(world.workers.length);
    const isLost = world.workers.map(({ rank }) => rank !== survivor && choose(3) === 0);
    world.lose(isLost);
  }
  world.run(numSteps, choose);
  world.close();
  expectBits(world, numSteps);
  return world;
}

function expectBits(world: World, numSteps: number): void {
  const { parameters, moments, averages } = world.expected(numSteps);
  for (const worker of world.workers) {
    expect(worker.machine.committed).toBe(numSteps);
    expect(differences(world.parameters(worker), parameters)).toEqual([]);
    expect(differences(world.averages(worker) ?? averages, averages)).toEqual([]);
    if (!worker.plan.isSharded) expect(differences(world.moments(worker), moments)).toEqual([]);
  }
}

/** The first places where the bits differ, with both values. */
function differences(found: Float32Array, expected: Float32Array): unknown[] {
  const listed: unknown[] = [];
  for (let i = 0; i < expected.length && listed.length < 5; i++) {
    if (!Object.is(found[i], expected[i])) listed.push({ element: i, found: found[i], expected: expected[i] });
  }
  return listed;
}

/** One bucket for two workers. */
const small: WorldOptions = { sizes: [64], numSlots: 2, numWorkers: 2, bucketBytes: 4096 };

describe('the all-reduce', () => {
  it.each([
    { way: 'exchange', hopBytes: 2 ** 30 },
    { way: 'direct', hopBytes: -1 },
    { way: 'both, large buckets directly', hopBytes: 700 },
  ])('gives every worker the bits of the naive sum, for any order of events; $way', ({ hopBytes }) => {
    fc.assert(
      fc.property(worlds, ({ workers, seed, ...options }) => {
        expectSameBits({ ...options, numWorkers: 1 + (workers % options.numSlots), hopBytes }, seed, 4);
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    { way: 'exchange', hopBytes: 2 ** 30, wire: 'float32' },
    { way: 'direct', hopBytes: -1, wire: 'float32' },
    { way: 'both', hopBytes: 700, wire: 'bfloat16' },
    { way: 'two levels', hopBytes: -1, wire: 'float32', perHost: 2 },
  ] as const)('gives them though workers are lost at any moment; $way, $wire', ({ hopBytes, wire, ...hosts }) => {
    fc.assert(
      fc.property(worlds, ({ workers, seed, numSlots: slots, ...options }) => {
        const numSlots = 'perHost' in hosts ? Math.max(4, slots) : slots;
        const numWorkers = 'perHost' in hosts ? 4 : 1 + (workers % numSlots);
        expectSameBitsDespiteLosses({ ...options, ...hosts, numSlots, numWorkers, hopBytes, wire }, seed, 4);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    { way: 'exchange', hopBytes: 2 ** 30, wire: 'float32' },
    { way: 'direct', hopBytes: -1, wire: 'float32' },
    { way: 'both', hopBytes: 700, wire: 'bfloat16' },
    { way: 'two levels', hopBytes: -1, wire: 'float32', perHost: 2 },
  ] as const)(
    'clips the norm of all segments together, whoever has which part, and averages the weights; $way, $wire',
    ({ hopBytes, wire, ...hosts }) => {
      fc.assert(
        fc.property(
          worlds,
          fc.constantFrom(1e-3, 1e3, 1e20),
          ({ workers, seed, numSlots: slots, ...options }, clipNorm) => {
            const numSlots = 'perHost' in hosts ? Math.max(4, slots) : slots;
            const numWorkers = 'perHost' in hosts ? 4 : 1 + (workers % numSlots);
            const tuning = { clipNorm, averageDecay: 0.9 };
            const setting = { ...options, ...hosts, ...tuning, numSlots, numWorkers, hopBytes, wire };
            expectSameBitsDespiteLosses(setting, seed, 3);
          },
        ),
        { numRuns: 40 },
      );
    },
  );

  it('computes only the slots again that were the lost one’s', () => {
    // Ready in its own buckets, and told nothing yet: all have their partials, and nobody has committed.
    const world = new World({ ...small, numSlots: 4, numWorkers: 4 });
    const choose = chooser(1);
    while (world.workers.some(({ begun, pending }) => begun === 0 || pending.length > 0)) world.run(1, choose, 1);
    expect(world.numComputed).toBe(4);
    world.lose([false, true, false, false]);
    world.run(1, choose);
    expect(world.numComputed).toBe(5);
    expectBits(world, 1);
  });

  it('lets a worker say that it lives with each bucket that comes, and with each that a step applies', () => {
    const world = new World({ sizes: [640], numSlots: 1, numWorkers: 1, bucketBytes: 256 });
    const numBuckets = world.workers[0]?.plan.buckets.length ?? NaN;
    world.run(1, chooser(1));
    expect(numBuckets).toBeGreaterThan(5);
    expect(world.numPulses).toBeGreaterThanOrEqual(2 * numBuckets);
  });

  it.skipIf(addon === null).each([
    { numHosts: 1, perHost: 2 },
    { numHosts: 1, perHost: 5 },
    { numHosts: 2, perHost: 2 },
    { numHosts: 2, perHost: 3 },
  ])('gives them where workers read one another’s memory: $numHosts hosts of $perHost', ({ numHosts, perHost }) => {
    const pages = SharedPages.load(addon ?? '');
    const numWorkers = numHosts * perHost;
    const options = fc.record({
      sizes: fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 4 }),
      numSlots: fc.integer({ min: numWorkers, max: numWorkers + 3 }),
      bucketBytes: fc.constantFrom(4096, 16_384, 65_536),
      hopBytes: fc.constantFrom(-1, 20_000),
      optimizer: fc.constantFrom({ sharded: false }, { sharded: true }, { sharded: true, clipNorm: 1e3 }),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(options, ({ seed, optimizer, ...rest }) => {
        const setting = { ...rest, ...optimizer, numWorkers, perHost, pages };
        expectSameBits(setting, seed, 4);
        if (!optimizer.sharded) expectSameBitsDespiteLosses(setting, seed, 4);
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    { numHosts: 2, perHost: 2 },
    { numHosts: 2, perHost: 4 },
    { numHosts: 4, perHost: 2 },
    { numHosts: 3, perHost: 3 },
  ])('gives them over two levels: $numHosts hosts of $perHost workers', ({ numHosts, perHost }) => {
    fc.assert(
      fc.property(worlds, fc.constantFrom(-1, 300), fc.nat(7), ({ seed, ...options }, hopBytes, moreSlots) => {
        const numWorkers = numHosts * perHost;
        expectSameBits({ ...options, numSlots: numWorkers + moreSlots, numWorkers, perHost, hopBytes }, seed, 3);
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    { way: 'exchange', hopBytes: 2 ** 30 },
    { way: 'direct', hopBytes: -1 },
    { way: 'two levels', hopBytes: -1, perHost: 2 },
  ])('gives them with bfloat16 on the wire, for any workers; $way', ({ hopBytes, perHost }) => {
    fc.assert(
      fc.property(worlds, ({ workers, seed, ...options }) => {
        const setting = perHost === undefined ? {} : { perHost, numSlots: 4 + (workers % 4) };
        const numWorkers = perHost === undefined ? 1 + (workers % options.numSlots) : 4;
        expectSameBits({ ...options, ...setting, numWorkers, hopBytes, wire: 'bfloat16' }, seed, 3);
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    { hosts: 'one host', wire: 'float32' },
    { hosts: 'one host', wire: 'bfloat16' },
    { hosts: 'two hosts', perHost: 2, wire: 'float32' },
  ] as const)(
    'gives them with a sharded optimizer, averages of the weights too, on $hosts, $wire',
    async ({ wire, ...setting }) => {
      const perHost = 'perHost' in setting ? { perHost: setting.perHost, numWorkers: 4 } : {};
      await fc.assert(
        fc.asyncProperty(worlds, async ({ workers, seed, numSlots: slots, ...options }) => {
          const numSlots = Math.max(slots, perHost.numWorkers ?? 2);
          const shared = { ...options, numSlots, numWorkers: 2 + (workers % (numSlots - 1)), ...perHost, wire };
          const world = expectSameBits({ ...shared, sharded: true, averageDecay: 0.9 }, seed, 3);
          expect(differences(await world.gatherMoments(chooser(seed)), world.expected(3).moments)).toEqual([]);
        }),
        { numRuns: 100 },
      );
    },
  );

  it.each([
    { way: 'on one host', perHost: undefined, wire: 'float32' },
    { way: 'on one host', perHost: undefined, wire: 'bfloat16' },
    { way: 'on two hosts', perHost: 2, wire: 'float32' },
  ] as const)(
    'clips with a sharded optimizer to the norm of all, whoever owns which part; $way, $wire',
    async ({ perHost, wire }) => {
      const several = fc.record({
        sizes: fc.array(fc.integer({ min: 1, max: 2500 }), { minLength: 1, maxLength: 3 }),
        bucketBytes: fc.constantFrom(64, 4096, 16_384),
        numWorkers: perHost === undefined ? fc.integer({ min: 2, max: 4 }) : fc.constant(4),
        moreSlots: fc.nat(3),
        clipNorm: fc.constantFrom(1e-3, 1e3, 1e20),
        seed: fc.integer(),
      });
      await fc.assert(
        fc.asyncProperty(several, async ({ sizes, moreSlots, seed, ...rest }) => {
          // Many buckets of a small model, or a few of a larger one.
          const small = rest.bucketBytes === 64 ? sizes.map((size) => 1 + (size % 90)) : sizes;
          const setting = { ...rest, sizes: small, numSlots: rest.numWorkers + moreSlots, wire, sharded: true };
          const world = expectSameBits({ ...setting, ...(perHost !== undefined && { perHost }) }, seed, 2);
          expect(differences(await world.gatherMoments(chooser(seed)), world.expected(2).moments)).toEqual([]);
        }),
        { numRuns: 12 },
      );
    },
  );

  it('leaves a worker of a sharded run its part of the moments, and a worker alone all of them', () => {
    const numMoments = (numWorkers: number, isSharded: boolean): (readonly number[] | undefined)[] => {
      const world = new World({ sizes: [640], numSlots: 4, numWorkers, bucketBytes: 4096, sharded: isSharded });
      const optimizer = sgd({ momentum: 0.9, sharded: isSharded });
      return world.workers.map(({ plan }) => {
        const regions = planRegions({ layout: world.layout, plan, optimizer });
        return regions.find(({ name }) => name === 'moment1')?.elements;
      });
    };
    expect(numMoments(4, true)).toEqual([[160], [160], [160], [160]]);
    expect(numMoments(4, false)).toEqual([[640], [640], [640], [640]]);
    expect(numMoments(1, true)).toEqual([[640]]);
  });

  it('sends half the bytes of a slot and of a result with bfloat16 on the wire', () => {
    const frameBytes = (wire: WireFormat): number => {
      // 64 trainable elements, and a line of loss and metric
      const world = new World({ ...small, wire });
      world.workers[1]?.reduction.onReady(0, 0);
      return world.firstFrame(1, 0).length - frameHeaderBytes;
    };
    expect([frameBytes('float32'), frameBytes('bfloat16')]).toEqual([64 * 4 + 64, 64 * 2 + 64]);
  });

  it('gives them for sums of several blocks', () => {
    for (const hopBytes of [-1, 2 ** 30]) {
      const options = { sizes: [40_000], numSlots: 5, numWorkers: 3, bucketBytes: 1 << 20, hopBytes };
      expectSameBits(options, 7, 2);
      expectSameBits({ ...options, wire: 'bfloat16' }, 7, 2);
    }
  });

  it('says for whom it waits', () => {
    const world = new World(small);
    const [first] = world.workers;
    expect(first?.reduction.waiting).toBe(
      "Step 0 is not committed: bucket 0 of 1 waits for this worker's own gradient; 0 of 1 frames are here",
    );
    first?.reduction.onReady(0, 0);
    expect(first?.reduction.waiting).toBe(
      'Step 0 is not committed: bucket 0 of 1 waits for partials from rank 1; 0 of 1 frames are here',
    );
  });

  it('says whose results it waits for, and what has not left', () => {
    const world = new World({ ...small, hopBytes: -1 });
    const [first, second] = world.workers;
    first?.reduction.onReady(0, 0);
    second?.reduction.onReady(0, 0);
    if (first) deliver(first.reduction, 1, world.firstFrame(1, 0));
    expect(first?.reduction.waiting).toBe(
      'Step 0 is not committed: bucket 0 of 1 waits for results from rank 1; 1 of 2 frames are here',
    );
    const exchanged = new World(small);
    for (const { reduction } of exchanged.workers) reduction.onReady(0, 0);
    const [waiting] = exchanged.workers;
    if (waiting) deliver(waiting.reduction, 1, exchanged.firstFrame(1, 0));
    expect(waiting?.reduction.waiting).toBe('Step 0 is not committed: 1 frames have not left');
  });

  describe('of frames that cannot be right refuses', () => {
    function corrupted(
      change: (bytes: Uint8Array) => Uint8Array,
      hopBytes?: number,
    ): {
      code: string;
      message: string;
      untouched: boolean;
    } {
      const world = new World({ ...small, ...(hopBytes !== undefined && { hopBytes }) });
      const [first, second] = world.workers;
      second?.memory.view('slot:1', 0).fill(3);
      second?.reduction.onReady(0, 0);
      const inbox = (): string => (first ? Buffer.from(first.memory.view('inbox', 0)).toString('hex') : '');
      const before = inbox();
      try {
        if (first) deliver(first.reduction, 1, change(Uint8Array.from(world.firstFrame(1, 0))));
      } catch (error) {
        const { code, message: text } = error as LockstepError;
        return { code, message: text, untouched: before === inbox() };
      }
      return { code: 'none', message: '', untouched: before === inbox() };
    }

    it('but takes them as they are', () => {
      expect(corrupted((bytes) => bytes)).toMatchObject({ code: 'none', untouched: false });
    });

    const reheaded = (changes: Partial<FrameHeader>) => (bytes: Uint8Array) => {
      const header = decodeFrameHeader(bytes.subarray(0, frameHeaderBytes));
      return Buffer.concat([encodeFrameHeader({ ...header, ...changes }), bytes.subarray(frameHeaderBytes)]);
    };

    it.each([
      ['a later generation', { generation: 8 }, 'generation 8; this is 7'],
      ['a step far ahead', { step: 2 }, 'a partial of step 2'],
      ['a step ahead while ours is not summed', { step: 1 }, 'without our part'],
      ['a tree node that is not the sender’s', { node: 2 }, 'a partial of tree node 2'],
      ['a chunk that is not ours', { chunk: 1 }, 'a partial of tree node 3'],
      ['a chunk that there is not', { chunk: 2 }, 'chunk 2 of 2 was named'],
      ['a bucket that there is not', { bucket: 4 }, 'bucket 4 of 1 was named'],
      ['squares that nobody tells', { kind: 'squares', bucket: 0, chunk: 0, node: 0 }, 'squares of step 0'],
      ['a result before ours is sent', { kind: 'result', chunk: 1, node: 0 }, 'a result of step 0'],
    ] as const)('a frame of %s', (_, changes, expected) => {
      const found = corrupted(reheaded(changes), -1);
      expect(found).toMatchObject({ code: 'ERR_PROTOCOL', untouched: true });
      expect(found.message).toContain(expected);
    });

    it('a frame of a step ahead, where all is exchanged and ours is not sent', () => {
      expect(corrupted(reheaded({ step: 1 }))).toMatchObject({ code: 'ERR_PROTOCOL', untouched: true });
    });

    it('a frame that is cut inside of its header', () => {
      expect(corrupted((bytes) => bytes.subarray(0, 30))).toMatchObject({ code: 'ERR_PROTOCOL', untouched: true });
    });

    it('but drops, without an error, a frame of an older generation', () => {
      expect(corrupted(reheaded({ generation: 6 }))).toMatchObject({ code: 'none', untouched: true });
    });

    it('a frame whose payload is too short', () => {
      const found = corrupted((bytes) => bytes.subarray(0, bytes.length - 4));
      expect(found).toMatchObject({ code: 'ERR_PROTOCOL' });
      expect(found.message).toContain('carries');
    });

    it('a frame with one bit flipped in its payload', () => {
      const found = corrupted((bytes) => {
        bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
        return bytes;
      });
      expect(found.code).toBe('ERR_FRAME_CORRUPT');
    });

    it('the same frame twice', () => {
      const world = new World(small);
      const [first, second] = world.workers;
      second?.reduction.onReady(0, 0);
      const bytes = world.firstFrame(1, 0);
      const send = (): void => {
        if (first) deliver(first.reduction, 1, bytes);
      };
      send();
      expect(send).toThrow('came twice');
    });
  });
});
