/**
 * Workers on real shared memory, joined by a virtual network: frames leave their sender's memory late, links keep their
 * order, and what happens next is chosen by chance. The oracle is the naive sum along the tree, slot by slot.
 */
import { expect } from 'vitest';
import { assignSlots } from '../../src/collective/assignment.js';
import { planAllReduce } from '../../src/collective/plan.js';
import { reductionTree, type TreeNode } from '../../src/collective/tree.js';
import type { WireFormat } from '../../src/collective/wire.js';
import { packBfloat16, unpackBfloat16 } from '../../src/kernels/reference.js';
import { sgd } from '../../src/optimizer/config.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { Reduction } from '../../worker/comm/reduction.js';
import { planRegions, slotRegion } from '../../worker/comm/regions.js';

const optimizer = sgd({ learningRate: 0.5 });

interface Message {
  readonly from: number;
  readonly to: number;
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
  readonly onSent: () => void;
}

/** One direction between two workers. */
interface Link {
  /** Frames that still lie in the sender's memory. */
  readonly unsent: Message[];
  /** Those that do not, which the sender has not been told yet. */
  readonly left: Message[];
  readonly underWay: { readonly from: number; readonly to: number; readonly bytes: Uint8Array }[];
}

export interface SimulatedWorker {
  readonly rank: number;
  readonly slots: readonly number[];
  readonly memory: FlatMemory;
  readonly reduction: Reduction;
  readonly numBuckets: number;
  committed: number;
  /** Buckets of the current step that are not ready. */
  pending: number[];
  begun: number;
}

export interface WorldOptions {
  readonly sizes: readonly number[];
  readonly numSlots: number;
  readonly numWorkers: number;
  readonly bucketBytes: number;
  /** Workers on each host. @default all on one */
  readonly perHost?: number;
  /** -1: no bucket is exchanged. */
  readonly hopBytes?: number;
  readonly wire?: WireFormat;
}

export type Choose = (choices: number) => number;

export class World {
  readonly workers: readonly SimulatedWorker[];
  readonly layout;
  readonly #numSlots: number;
  readonly #wire: WireFormat;
  readonly #links = new Map<string, Link>();

  constructor(options: WorldOptions) {
    const { sizes, numSlots, numWorkers, perHost = numWorkers, bucketBytes, hopBytes, wire = 'float32' } = options;
    this.#numSlots = numSlots;
    this.#wire = wire;
    const parameters = sizes.map((size, i) => ({
      name: `p${i}`,
      shape: [size],
      trainable: i % 3 === 0,
      frozen: i % 3 === 2,
    }));
    this.layout = planLayout(parameters, 2, { maxSegmentElements: Math.max(256, ...sizes.map((size) => size + 16)) });
    const { segments } = this.layout;
    const workers = assignSlots(numSlots, numWorkers).map((range, rank) => {
      return { ...range, hostId: `host ${Math.floor(rank / perHost)}` };
    });
    this.workers = workers.map((_, rank) => {
      const plan = planAllReduce({
        generation: 7,
        rank,
        slots: numSlots,
        workers,
        segments,
        bucketBytes,
        wire,
        hopBytes,
      });
      const memory = FlatMemory.create(this.layout, planRegions({ layout: this.layout, plan, optimizer }));
      const worker: SimulatedWorker = {
        rank,
        slots: plan.slots,
        memory,
        numBuckets: plan.buckets.length,
        reduction: new Reduction({
          plan,
          memory,
          optimizer,
          step: 0,
          send: (to, header, payload, onSent) => {
            this.link(rank, to).unsent.push({ from: rank, to, header, payload, onSent });
          },
          onCommit: (step) => (worker.committed = step + 1),
        }),
        committed: 0,
        pending: [],
        begun: 0,
      };
      return worker;
    });
  }

  /** Runs until nothing happens any more with `numSteps` begun by all, taking each next event by chance. */
  run(numSteps: number, choose: Choose): void {
    for (;;) {
      const events = [...this.#starts(numSteps), ...this.#arrivals()];
      const event = events[choose(events.length)];
      if (!event) return;
      event();
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
          const isRounded = this.#wire === 'bfloat16' && i < trainableElements;
          const rounded = isRounded ? nearestBfloat16 : (value: number): number => value;
          const sum = rounded(
            naiveSum(reductionTree(this.#numSlots), (slot) => rounded(gradient(step, slot, segment, i))),
          );
          const update = Math.fround((values[base + i] ?? 0) - Math.fround(0.5 * sum));
          values[base + i] = i < trainableElements ? update : sum;
        }
      }
      base += elements;
    }
    return values;
  }

  parameters(worker: SimulatedWorker): Float32Array {
    return Float32Array.from(
      this.layout.segments.flatMap((_, segment) => [...worker.memory.view('parameters', segment)]),
    );
  }

  link(from: number, to: number): Link {
    const key = `${from}>${to}`;
    const link = this.#links.get(key) ?? { unsent: [], left: [], underWay: [] };
    this.#links.set(key, link);
    return link;
  }

  /** The first frame of a link, as it would leave now. */
  firstFrame(from: number, to: number): Uint8Array {
    const [message] = this.link(from, to).unsent;
    return message ? Buffer.concat([message.header, message.payload]) : new Uint8Array();
  }

  /** Gradients are written when the step begins; buckets are told of in any order. */
  #starts(numSteps: number): (() => void)[] {
    return this.workers.flatMap((worker) => {
      const { pending } = worker;
      if (pending.length > 0) {
        return pending.map((bucket) => () => {
          worker.pending = pending.filter((other) => other !== bucket);
          worker.reduction.onBucketReady(worker.begun - 1, bucket);
        });
      }
      if (worker.begun !== worker.committed || worker.begun >= numSteps) return [];
      return [
        () => {
          this.#begin(worker);
        },
      ];
    });
  }

  #arrivals(): (() => void)[] {
    return [...this.#links.values()].flatMap(({ unsent, left, underWay }) => {
      const [leaving] = unsent;
      const [told] = left;
      const [arriving] = underWay;
      const leave = (): void => {
        unsent.shift();
        if (!leaving) return;
        const { from, to, header, payload } = leaving;
        underWay.push({ from, to, bytes: Buffer.concat([header, payload]) });
        left.push(leaving);
      };
      const tell = (): void => {
        left.shift();
        told?.onSent();
      };
      const arrive = (): void => {
        underWay.shift();
        if (arriving) this.workers[arriving.to]?.reduction.onFrame(arriving.from, inPieces(arriving.bytes));
      };
      return [...(leaving ? [leave] : []), ...(told ? [tell] : []), ...(arriving ? [arrive] : [])];
    });
  }

  #begin(worker: SimulatedWorker): void {
    for (const slot of worker.slots) {
      for (const [segment, { reducedElements }] of this.layout.segments.entries()) {
        const view = worker.memory.view(slotRegion(slot), segment);
        for (let i = 0; i < reducedElements; i++) view[i] = gradient(worker.begun, slot, segment, i);
      }
    }
    worker.begun++;
    worker.pending = Array.from({ length: worker.numBuckets }, (_, bucket) => bucket);
  }
}

function inPieces(bytes: Uint8Array): Uint8Array[] {
  const cut = bytes.length >> 1;
  return bytes.length % 3 === 0 ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)];
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

function nearestBfloat16(value: number): number {
  return unpackBfloat16(packBfloat16(Float32Array.of(value)))[0] ?? NaN;
}

/** A small generator for the order of events; any will do. */
export function chooser(seed: number): Choose {
  let state = seed | 1;
  return (choices) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % choices;
  };
}
