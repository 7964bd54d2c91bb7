/**
 * The collective that workers run, on real shared memory, over a virtual network that delivers in any order that links
 * allow. The oracle is the naive sum along the tree, slot by slot.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assignSlots } from '../../src/collective/assignment.js';
import { reductionTree, type TreeNode } from '../../src/collective/tree.js';
import type { LockstepError } from '../../src/errors.js';
import { sgd } from '../../src/optimizer/config.js';
import { decodeFrameHeader, encodeFrameHeader, frameHeaderBytes, type FrameHeader } from '../../src/protocol/frame.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { planAllReduce } from '../../worker/comm/generation-run.js';
import { Reduction } from '../../worker/comm/reduction.js';
import { planRegions, slotRegion } from '../../worker/comm/regions.js';

const optimizer = sgd({ learningRate: 0.5 });

interface Message {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
}

interface Worker {
  readonly rank: number;
  readonly slots: readonly number[];
  readonly memory: FlatMemory;
  readonly reduction: Reduction;
  committed: number;
  begun: number;
  /** Buckets of the step begun last whose gradients are not ready. */
  unready: number[];
  readonly numBuckets: number;
}

/** Workers joined by links that keep their order, each with what is under way on it. */
class World {
  readonly workers: readonly Worker[];
  readonly links = new Map<string, Message[]>();
  readonly layout;
  readonly #numSlots: number;

  constructor(options: { sizes: readonly number[]; numSlots: number; numWorkers: number; bucketBytes: number }) {
    const { sizes, numSlots, numWorkers, bucketBytes } = options;
    this.#numSlots = numSlots;
    const parameters = sizes.map((size, i) => ({
      name: `p${i}`,
      shape: [size],
      trainable: i % 3 === 0,
      frozen: i % 3 === 2,
    }));
    this.layout = planLayout(parameters, 2, { maxSegmentElements: 256 });
    const ranges = assignSlots(numSlots, numWorkers);
    const roster = ranges.map((range, rank) => ({
      workerId: `w${rank}`,
      rank,
      host: 'here',
      ...range,
      addresses: { hostId: 'here', unixPath: null, tcp: [] },
    }));
    const tree = reductionTree(numSlots);
    this.workers = ranges.map(({ firstSlot, endSlot }, rank) => {
      const generation = { generation: 7, workers: roster };
      const plan = planAllReduce({ generation, rank, slots: numSlots, layout: this.layout, bucketBytes });
      const memory = FlatMemory.create(this.layout, planRegions({ layout: this.layout, plan, tree, optimizer }));
      const worker: Worker = {
        rank,
        slots: Array.from({ length: endSlot - firstSlot }, (_, i) => firstSlot + i),
        memory,
        reduction: new Reduction({
          plan,
          tree,
          memory,
          optimizer,
          step: 0,
          send: (to, header, payload) => {
            this.#link(rank, to).push({ from: rank, to, bytes: Buffer.concat([header, payload]) });
          },
          onCommit: (step) => (worker.committed = step + 1),
        }),
        numBuckets: plan.buckets.length,
        committed: 0,
        begun: 0,
        unready: [],
      };
      return worker;
    });
  }

  /** Runs until every worker has committed `numSteps`, taking each next event by chance. */
  run(numSteps: number, choose: (choices: number) => number): void {
    for (;;) {
      const starters = this.workers.filter(
        ({ begun, committed, unready }) => unready.length > 0 || (begun === committed && begun < numSteps),
      );
      const links = [...this.links.values()].filter((queue) => queue.length > 0);
      if (starters.length + links.length === 0) return;
      const choice = choose(starters.length + links.length);
      const starter = starters[choice];
      if (starter && starter.unready.length > 0) this.#makeReady(starter, choose(starter.unready.length));
      else if (starter) this.#begin(starter);
      else this.#deliver(links[choice - starters.length]?.shift());
      const committed = this.workers.map((worker) => worker.committed);
      expect(Math.max(...committed) - Math.min(...committed)).toBeLessThanOrEqual(1);
    }
  }

  /** What each parameter is after `numSteps`, by the naive sum. */
  expected(numSteps: number): Float32Array {
    const length = this.layout.segments.reduce((sum, { elements }) => sum + elements, 0);
    const values = new Float32Array(length);
    let base = 0;
    for (const [segment, { elements, reducedElements, trainableElements }] of this.layout.segments.entries()) {
      for (let step = 0; step < numSteps; step++) {
        for (let i = 0; i < reducedElements; i++) {
          const sum = naiveSum(reductionTree(this.#numSlots), (slot) => gradient(step, slot, segment, i));
          const update = Math.fround((values[base + i] ?? 0) - Math.fround(0.5 * sum));
          values[base + i] = i < trainableElements ? update : sum;
        }
      }
      base += elements;
    }
    return values;
  }

  parameters(worker: Worker): Float32Array {
    return Float32Array.from(
      this.layout.segments.flatMap((_, segment) => [...worker.memory.view('parameters', segment)]),
    );
  }

  #begin(worker: Worker): void {
    for (const slot of worker.slots) {
      for (const [segment, { reducedElements }] of this.layout.segments.entries()) {
        const view = worker.memory.view(slotRegion(slot), segment);
        for (let i = 0; i < reducedElements; i++) view[i] = gradient(worker.begun, slot, segment, i);
      }
    }
    worker.begun++;
    worker.unready = Array.from({ length: worker.numBuckets }, (_, bucket) => bucket);
  }

  /** Buckets become ready in any order. */
  #makeReady(worker: Worker, choice: number): void {
    const [bucket = -1] = worker.unready.splice(choice, 1);
    worker.reduction.onReady(worker.begun - 1, bucket);
  }

  #deliver(message: Message | undefined): void {
    if (!message) return;
    const cut = message.bytes.length >> 1;
    const pieces =
      message.bytes.length % 3 === 0 ? [message.bytes] : [message.bytes.subarray(0, cut), message.bytes.subarray(cut)];
    this.workers[message.to]?.reduction.onFrame(message.from, pieces);
  }

  #link(from: number, to: number): Message[] {
    const key = `${from}>${to}`;
    const queue = this.links.get(key) ?? [];
    this.links.set(key, queue);
    return queue;
  }
}

/** Values whose sum depends on the order of additions. */
function gradient(step: number, slot: number, segment: number, i: number): number {
  const mixed =
    Math.imul((step + 1) * 73_856_093, 1) ^ ((slot + 1) * 19_349_663) ^ ((segment + 1) * 83_492_791) ^ (i * 2_654_435);
  return Math.fround(((mixed >>> 0) % 100_003) * 10 ** (((slot * 5 + i) % 9) - 6));
}

function naiveSum(node: TreeNode, leaf: (slot: number) => number): number {
  if (!node.children) return leaf(node.firstSlot);
  return Math.fround(naiveSum(node.children[0], leaf) + naiveSum(node.children[1], leaf));
}

const worlds = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 6 }),
  numSlots: fc.integer({ min: 1, max: 9 }),
  workers: fc.nat(8),
  bucketBytes: fc.constantFrom(64, 192, 256, 4096),
  seed: fc.integer(),
});

/** A small generator for the order of events; any will do. */
function chooser(seed: number): (choices: number) => number {
  let state = seed | 1;
  return (choices) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % choices;
  };
}

describe('the all-reduce', () => {
  it('gives every worker the same bits as the naive sum, for any workers, buckets and order of delivery', () => {
    fc.assert(
      fc.property(worlds, ({ sizes, numSlots, workers, bucketBytes, seed }) => {
        const world = new World({ sizes, numSlots, numWorkers: 1 + (workers % numSlots), bucketBytes });
        world.run(3, chooser(seed));
        const expected = new Uint32Array(world.expected(3).buffer);
        for (const worker of world.workers) {
          expect(worker.committed).toBe(3);
          expect(new Uint32Array(world.parameters(worker).buffer)).toEqual(expected);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('says for whom it waits', () => {
    const world = new World({ sizes: [64], numSlots: 2, numWorkers: 2, bucketBytes: 4096 });
    const [first] = world.workers;
    expect(first?.reduction.waiting).toBe(
      "Step 0 is not committed: bucket 0 of 1 waits for this worker's own gradient",
    );
    first?.reduction.onReady(0, 0);
    expect(first?.reduction.waiting).toBe('Step 0 is not committed: bucket 0 of 1 waits for partials from rank 1');
  });

  describe('of frames that cannot be right refuses', () => {
    function corrupted(change: (bytes: Uint8Array) => Uint8Array): {
      code: string;
      message: string;
      untouched: boolean;
    } {
      const world = new World({ sizes: [64], numSlots: 2, numWorkers: 2, bucketBytes: 4096 });
      const [first, second] = world.workers;
      second?.reduction.onReady(0, 0);
      const message = world.links.get('1>0')?.[0]?.bytes ?? new Uint8Array();
      const before = first && Buffer.from(first.memory.view('inbox:3', 0)).toString('hex');
      try {
        first?.reduction.onFrame(1, [change(Uint8Array.from(message))]);
      } catch (error) {
        const { code, message: text } = error as LockstepError;
        return {
          code,
          message: text,
          untouched: before === (first && Buffer.from(first.memory.view('inbox:3', 0)).toString('hex')),
        };
      }
      return { code: 'none', message: '', untouched: true };
    }

    const reheaded = (changes: Partial<FrameHeader>) => (bytes: Uint8Array) => {
      const header = decodeFrameHeader(bytes.subarray(0, frameHeaderBytes));
      return Buffer.concat([encodeFrameHeader({ ...header, ...changes }), bytes.subarray(frameHeaderBytes)]);
    };

    it.each([
      ['a later generation', { generation: 8 }, 'generation 8; this is 7'],
      ['a step far ahead', { step: 2 }, 'a partial of step 2'],
      ['a step ahead while ours is not summed', { step: 1 }, 'without our chunk'],
      ['a tree node that is not the sender’s', { node: 2 }, 'a partial of tree node 2'],
      ['a chunk that is not ours', { chunk: 1 }, 'chunk 1; expected chunk 0'],
      ['a bucket that there is not', { bucket: 4 }, 'Bucket 4 was named; there are 1'],
      ['a reduced chunk before ours is sent', { kind: 'reduced', chunk: 1, node: 0 }, 'a reduced chunk of step 0'],
    ] as const)('a frame of %s', (_, changes, expected) => {
      const found = corrupted(reheaded(changes));
      expect(found).toMatchObject({ code: 'ERR_PROTOCOL', untouched: true });
      expect(found.message).toContain(expected);
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
      const world = new World({ sizes: [64], numSlots: 2, numWorkers: 2, bucketBytes: 4096 });
      const [first, second] = world.workers;
      second?.reduction.onReady(0, 0);
      const bytes = world.links.get('1>0')?.[0]?.bytes ?? new Uint8Array();
      first?.reduction.onFrame(1, [bytes]);
      expect(() => first?.reduction.onFrame(1, [bytes])).toThrow('came twice');
    });
  });
});
