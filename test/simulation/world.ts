/**
 * Workers on real shared memory, joined by a virtual network: frames leave their sender's memory late, links keep their
 * order, and what happens next is chosen by chance. Workers are lost at any moment, and the others go on over the same
 * memory. The oracle is the naive sum along the tree, slot by slot.
 */
import { expect } from 'vitest';
import { pageElements, planBuckets } from '../../src/collective/buckets.js';
import { assignSlots, reassignSlots, type SlotRange } from '../../src/collective/assignment.js';
import { type KeptPartials, noPartials, slotsToCompute, withPartial } from '../../src/collective/kept-partials.js';
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import { reductionTree } from '../../src/collective/tree.js';
import type { WireFormat } from '../../src/collective/wire.js';
import { average, scale, sgd as sgdOf, sumSquares } from '../../src/kernels/reference.js';
import { sgd } from '../../src/optimizer/config.js';
import { frameHeaderBytes } from '../../src/protocol/frame.js';
import { planLayout } from '../../src/state/layout.js';
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import { FlatMemory } from '../../src/state/memory.js';
import { cutState } from '../../worker/comm/state-pieces.js';
import { Windows } from '../../worker/comm/windows.js';
import type { NotFinite } from '../../worker/comm/finiteness.js';
import { Reduction } from '../../worker/comm/reduction.js';
import { firstShared, slotRegion } from '../../worker/comm/regions.js';
import { judgesWhole } from '../../worker/comm/generation-plan.js';
import { reserveRegions } from '../../worker/comm/reservation.js';
import type { SharedPages } from '../../worker/comm/shared-pages.js';
import { gradient, naiveSum, nearestBfloat16 } from './oracle.js';

const coefficients = { learningRate: 0.5, momentum: 0.9 };

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

/** What outlives a generation. */
interface Machine {
  readonly host: number;
  readonly memory: FlatMemory;
  readonly shared: SharedMemory | null;
  kept: KeptPartials;
  committed: number;
  /** What it was told of steps that are not finite. */
  readonly notFinite: ({ readonly step: number } & NotFinite)[];
}

export interface SimulatedWorker {
  readonly rank: number;
  readonly slots: SlotRange;
  readonly machine: Machine;
  readonly memory: FlatMemory;
  readonly windows: Windows;
  readonly reduction: Reduction;
  readonly plan: AllReducePlan;
  /** Buckets of the current step that are not ready. */
  pending: number[];
  begun: number;
}

export interface WorldOptions {
  readonly sizes: readonly number[];
  readonly numSlots: number;
  readonly numWorkers: number;
  readonly bucketBytes: number;
  /** @default as few as the largest parameter needs, so that there are several segments */
  readonly maxSegmentElements?: number;
  /** Workers on each host. @default all on one */
  readonly perHost?: number;
  /** -1: no bucket is exchanged. */
  readonly hopBytes?: number;
  /** Workers read one another's memory, with this. */
  readonly pages?: SharedPages;
  readonly wire?: WireFormat;
  /** @default false */
  readonly sharded?: boolean;
  /** @default gradients are not clipped */
  readonly clipNorm?: number | undefined;
  /** @default weights are not averaged */
  readonly averageDecay?: number | undefined;
  /** Values in place of the world's own. @default none */
  readonly planted?: Planted;
  /** @default 'stop' */
  readonly onNotFinite?: 'stop' | 'skip';
}

/** What a slot's gradient has there in place of the world's own value; undefined: that one. */
export type Planted = (step: number, slot: number, segment: number, element: number) => number | undefined;

/** The state after some steps, of all segments one after the other. */
export interface State {
  readonly parameters: Float32Array;
  readonly moments: Float32Array;
  /** Moving averages of what is trained; zeros where there are none. */
  readonly averages: Float32Array;
}

export type Choose = (choices: number) => number;

export class World {
  workers: readonly SimulatedWorker[] = [];
  readonly layout;
  /** Partials that were computed. */
  numComputed = 0;
  /** How often a worker in long work could say that it lives. */
  numPulses = 0;
  readonly #options: WorldOptions & { readonly wire: WireFormat };
  readonly #optimizer;
  #generation = 7;
  readonly #links = new Map<string, Link>();

  constructor(options: WorldOptions) {
    const { sizes, numSlots, numWorkers, perHost = numWorkers, bucketBytes, wire = 'float32' } = options;
    const { sharded = false, clipNorm, averageDecay } = options;
    this.#options = { ...options, wire };
    this.#optimizer = sgd({ ...coefficients, sharded, clipNorm, averageDecay });
    const parameters = sizes.map((size, i) => ({
      name: `p${i}`,
      shape: [size],
      trainable: i % 3 === 0,
      frozen: i % 3 === 2,
    }));
    const { maxSegmentElements = Math.max(256, ...sizes.map((size) => size + 16)) } = options;
    this.layout = planLayout(parameters, 2, { maxSegmentElements });
    const regions = reserveRegions(this.layout, { slots: numSlots, wire, ...this.#update, bucketBytes });
    const machines = Array.from({ length: numWorkers }, (_, rank) => {
      const memory = FlatMemory.create(this.layout, regions);
      const shared = options.pages?.share(memory, firstShared) ?? null;
      return { host: Math.floor(rank / perHost), memory, shared, kept: noPartials, committed: 0, notFinite: [] };
    });
    this.#form(machines, assignSlots(numSlots, numWorkers));
  }

  /** Frees what outlives its memory. */
  close(): void {
    const { pages } = this.#options;
    for (const { machine } of this.workers) if (machine.shared) pages?.close(machine.shared);
  }

  /** The next generation, without these; who is behind is brought up to the others. */
  lose(isLost: readonly boolean[]): void {
    const { pages } = this.#options;
    for (const { machine, windows } of this.workers) {
      if (pages && machine.shared) windows.close({ memory: machine.memory, pages, own: machine.shared });
    }
    const ranges = reassignSlots(
      this.workers.map(({ slots }) => slots),
      isLost,
    );
    const [left, lost] = [false, true].map((which) =>
      this.workers.flatMap(({ rank, machine }) => (isLost[rank] === which ? machine : [])),
    );
    for (const { shared } of lost ?? []) if (shared) pages?.close(shared);
    this.#links.clear();
    this.#generation++;
    this.#heal(left ?? []);
    this.#form(left ?? [], ranges);
  }

  #heal(machines: readonly Machine[]): void {
    const furthest = machines.reduce((most, one) => (one.committed > most.committed ? one : most));
    for (const machine of machines.filter(({ committed }) => committed < furthest.committed)) {
      for (const { segment, address, numBytes } of cutState(machine.memory, this.#optimizer)) {
        const from = furthest.memory.bytes(segment, address, numBytes);
        machine.memory.bytes(segment, address, numBytes).set(from);
      }
      machine.committed = furthest.committed;
    }
  }

  get #update() {
    return { optimizer: this.#optimizer, onNotFinite: this.#options.onNotFinite ?? 'stop' };
  }

  #form(machines: readonly Machine[], ranges: readonly SlotRange[]): void {
    const { numSlots, bucketBytes, hopBytes, wire, sharded, pages } = this.#options;
    const workers = ranges.map((range, rank) => ({ ...range, hostId: `host ${machines[rank]?.host ?? -1}` }));
    const { segments } = this.layout;
    const setting = { generation: this.#generation, slots: numSlots, workers, segments, bucketBytes };
    this.workers = machines.map((machine, rank) => {
      const plan = planAllReduce({ ...setting, rank, wire, sharded, judgesWhole: judgesWhole(this.#update), hopBytes });
      return this.#join(machine, plan, ranges[rank] ?? { firstSlot: 0, endSlot: 0 });
    });
    if (pages) this.#openWindows(pages);
  }

  #join(machine: Machine, plan: AllReducePlan, slots: SlotRange): SimulatedWorker {
    const { memory, committed: step } = machine;
    const { rank } = plan;
    const windows = new Windows();
    const reduction = new Reduction({
      plan,
      memory,
      windows,
      optimizer: this.#optimizer,
      step,
      pulse: () => {
        this.numPulses++;
      },
      send: (to, header, payload, onSent) => {
        this.link(rank, to).unsent.push({ from: rank, to, header, payload, onSent });
      },
      onNotFinite: (notFinite, found) => {
        machine.notFinite.push({ step: notFinite, ...found });
        return this.#options.onNotFinite ?? 'stop';
      },
      onCommit: (committed) => (machine.committed = committed + 1),
    });
    return { rank, slots, machine, memory, windows, plan, reduction, pending: [], begun: step };
  }

  #openWindows(pages: SharedPages): void {
    for (const reader of this.workers) {
      const neighbours = this.workers.filter(
        ({ rank, machine }) => rank !== reader.rank && machine.host === reader.machine.host,
      );
      for (const read of neighbours) {
        const theirs = read.machine.shared;
        const { plan, memory } = reader;
        expect(theirs && reader.windows.open(read.rank, theirs, { plan, memory, pages })).toBe(true);
        read.windows.readers.add(reader.rank);
      }
    }
  }

  /**
   * Runs until nothing happens any more with `numSteps` begun by all, taking each next event by chance.
   *
   * @param maxEvents it ends there at the latest, whatever is under way
   */
  run(numSteps: number, choose: Choose, maxEvents = Infinity): void {
    for (let numEvents = 0; numEvents < maxEvents; numEvents++) {
      const events = [...this.#starts(numSteps), ...this.#arrivals()];
      const event = events[choose(events.length)];
      if (!event) return;
      event();
      const committed = this.workers.map(({ machine }) => machine.committed);
      expect(Math.max(...committed) - Math.min(...committed)).toBeLessThanOrEqual(1);
    }
  }

  /** What the state is after `numSteps`, without those `skipped`, by the naive sum and the plain optimizer. */
  expected(numSteps: number, skipped: readonly number[] = []): State {
    const { scalars, numScalars } = this.layout;
    const scales = Array.from({ length: numSteps }, (_, step) => this.#gradientScale(step));
    const perSegment = this.layout.segments.map(({ elements, reducedElements, trainableElements }, segment) => {
      const parameters = new Float32Array(elements);
      const moments = new Float32Array(trainableElements);
      const averages = new Float32Array(trainableElements);
      for (let step = 0; step < numSteps; step++) {
        const sums = this.#sums(step, segment, reducedElements);
        if (skipped.includes(step)) {
          if (segment !== scalars.segment) continue;
          parameters.set(sums.subarray(scalars.offset, scalars.offset + numScalars), scalars.offset);
          parameters[scalars.offset] = NaN;
          continue;
        }
        const gradient = new Float32Array(trainableElements);
        scale(gradient, sums, scales[step] ?? NaN);
        sgdOf(
          { parameters: parameters.subarray(0, trainableElements), gradient, moment1: moments },
          { ...coefficients, nesterov: false },
        );
        parameters.set(sums.subarray(trainableElements), trainableElements);
        const { averageDecay } = this.#options;
        if (averageDecay !== undefined) average(averages, parameters.subarray(0, trainableElements), averageDecay);
      }
      return { parameters, moments, averages };
    });
    return {
      parameters: joined(perSegment.map(({ parameters }) => parameters)),
      moments: joined(perSegment.map(({ moments }) => moments)),
      averages: joined(perSegment.map(({ averages }) => averages)),
    };
  }

  /** The moments of one worker, which holds all of them. */
  moments(worker: SimulatedWorker): Float32Array {
    return joined(this.layout.segments.map((_, segment) => worker.memory.view('moment1', segment)));
  }

  /** The averages of one worker, which holds all of them, sharded or not; null: weights are not averaged. */
  averages({ memory }: SimulatedWorker): Float32Array | null {
    if (!memory.has('average')) return null;
    return joined(
      this.layout.segments.map(({ trainableElements }, segment) =>
        memory.view('average', segment).subarray(0, trainableElements),
      ),
    );
  }

  /** The moments that rank 0 gathers, bucket by bucket, while frames travel by chance. */
  async gatherMoments(choose: Choose): Promise<Float32Array> {
    const [first] = this.workers;
    const gathered: Float32Array[] = [];
    for (const bucket of first?.plan.buckets ?? []) {
      const arrived = first?.reduction.gatherMoments('moment1', bucket.index);
      this.run(0, choose);
      await arrived;
      gathered.push(first?.memory.view('gathered', bucket.segment).slice(0, bucket.trainableElements) ?? joined([]));
    }
    return joined(gathered);
  }

  parameters(worker: SimulatedWorker): Float32Array {
    return joined(this.layout.segments.map((_, segment) => worker.memory.view('parameters', segment)));
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

  #sums(step: number, segment: number, numElements: number): Float32Array {
    const { trainableElements = 0 } = this.layout.segments[segment] ?? {};
    return Float32Array.from({ length: numElements }, (_, i) =>
      this.#sum(step, segment, { i, isTrainable: i < trainableElements }),
    );
  }

  #gradientScale(step: number): number {
    const { clipNorm = Infinity } = this.#options;
    if (clipNorm === Infinity) return 1;
    let squares = 0;
    for (const { segment, offset, trainableElements } of planBuckets(this.layout.segments, this.#options.bucketBytes)) {
      const bucket = this.#sums(step, segment, offset + trainableElements).subarray(offset);
      for (let page = 0; page < trainableElements; page += pageElements) {
        const sums = new Float64Array(8);
        sumSquares(sums, bucket.subarray(page, page + pageElements));
        squares += sums.reduce((sum, one) => sum + one, 0);
      }
    }
    return Math.min(1, clipNorm / Math.sqrt(squares));
  }

  #sum(step: number, segment: number, { i, isTrainable }: { i: number; isTrainable: boolean }): number {
    const rounded =
      this.#options.wire === 'bfloat16' && isTrainable ? nearestBfloat16 : (value: number): number => value;
    const leaf = (slot: number): number => rounded(this.#gradient(step, slot, segment, i));
    return rounded(naiveSum(reductionTree(this.#options.numSlots), leaf));
  }

  #gradient(step: number, slot: number, segment: number, i: number): number {
    return this.#options.planted?.(step, slot, segment, i) ?? gradient(step, slot, segment, i);
  }

  /** Gradients are written when the step begins; buckets are told of in any order. */
  #starts(numSteps: number): (() => void)[] {
    return this.workers.flatMap((worker) => {
      const { pending } = worker;
      if (pending.length > 0) {
        return pending.map((bucket) => () => {
          worker.pending = pending.filter((other) => other !== bucket);
          worker.reduction.onReady(worker.begun - 1, bucket);
        });
      }
      if (worker.begun !== worker.machine.committed || worker.begun >= numSteps) return [];
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
        const to = this.workers[arriving?.to ?? -1];
        if (arriving && to) deliver(to.reduction, arriving.from, arriving.bytes);
      };
      return [...(leaving ? [leave] : []), ...(told ? [tell] : []), ...(arriving ? [arrive] : [])];
    });
  }

  #begin(worker: SimulatedWorker): void {
    const { machine, begun: step } = worker;
    for (const slot of slotsToCompute(machine.kept, step, worker.slots)) {
      for (const [segment, { reducedElements }] of this.layout.segments.entries()) {
        const view = worker.memory.view(slotRegion(slot), segment);
        for (let i = 0; i < reducedElements; i++) view[i] = this.#gradient(step, slot, segment, i);
      }
      machine.kept = withPartial(machine.kept, step, slot);
      this.numComputed++;
    }
    worker.begun++;
    worker.pending = worker.plan.buckets.map(({ index }) => index);
  }
}

/** A frame comes in, its payload in one piece or in two. */
export function deliver(reduction: Reduction, from: number, bytes: Uint8Array): void {
  const payload = bytes.subarray(frameHeaderBytes);
  const target = reduction.begin(from, bytes.subarray(0, frameHeaderBytes), payload.length);
  const cut = payload.length % 3 === 0 ? payload.length : payload.length >> 1;
  for (const [start, end] of [
    [0, cut],
    [cut, payload.length],
  ] as const) {
    target?.set(payload.subarray(start, end), start);
    if (end > start) reduction.progress(from, end - start);
  }
  reduction.end(from);
}

function joined(arrays: readonly Float32Array[]): Float32Array {
  return Float32Array.from(arrays.flatMap((array) => [...array]));
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
