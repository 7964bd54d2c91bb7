/** The reduction in memory, several workers in one thread that take turns, and a halt at any of their turns. */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assignSlots, reassignSlots, type SlotRange } from '../../src/collective/assignment.js';
import { noPartials, slotsToCompute, withPartial, type KeptPartials } from '../../src/collective/kept-partials.js';
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import { sgd, type OptimizerConfig } from '../../src/optimizer/config.js';
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory, PARAMETERS } from '../../src/state/memory.js';
import { Boards } from '../../worker/comm/boards.js';
import {
  awaitedIndex,
  awaitedRankIndex,
  makeCommTimes,
  networkIndex,
  type CommTimes,
} from '../../worker/comm/comm-times.js';
import { LocalReduction, type Outcome } from '../../worker/comm/local-reduction.js';
import { firstShared, slotRegion } from '../../worker/comm/regions.js';
import { reserveRegions } from '../../worker/comm/reservation.js';
import { SharedPages } from '../../worker/comm/shared-pages.js';
import { cutState } from '../../worker/comm/state-pieces.js';
import { makeStepWords, StepWords } from '../../worker/comm/step-words.js';
import { Windows } from '../../worker/comm/windows.js';
import { findSharedPages } from '../../worker/compute/engine/native-build.js';
import { gradient } from './oracle.js';
import { World } from './world.js';

/** Where there is no engine there is none. */
const addon = findSharedPages();
/** Four pages: what a run has may be several buckets. */
const bucketBytes = 16_384;
const maxSegmentElements = 2 ** 20;
/** The world's, whose oracle this is. */
const optimizerOf = ({ clipNorm }: Pick<Setting, 'clipNorm'>): OptimizerConfig =>
  sgd({ learningRate: 0.5, momentum: 0.9, clipNorm });

interface Machine {
  readonly memory: FlatMemory;
  readonly shared: SharedMemory;
  readonly times: CommTimes;
  /** Turns that it takes to compute a step. */
  lateTurns: number;
  committed: number;
  kept: KeptPartials;
}

/** An element of a slot's gradient at a step that is not finite. */
interface Spoiled {
  readonly step: number;
  readonly slot: number;
  readonly element: number;
}

interface Setting {
  readonly sizes: readonly number[];
  readonly numSlots: number;
  readonly numWorkers: number;
  /** @default gradients are not clipped */
  readonly clipNorm?: number | undefined;
}

class Host {
  readonly #setting: Setting;
  readonly #optimizer: OptimizerConfig;
  readonly #layout;
  readonly #pages = SharedPages.load(addon ?? '');
  machines: readonly Machine[];
  ranges: readonly SlotRange[];
  readonly spoiled: Spoiled | null;
  #generation = 0;

  constructor(setting: Setting, spoiled: Spoiled | null = null) {
    const { sizes, numSlots, numWorkers } = setting;
    const parameters = sizes.map((size, i) => {
      return { name: `p${i}`, shape: [size], trainable: i % 3 === 0, frozen: i % 3 === 2 };
    });
    this.#setting = setting;
    this.#optimizer = optimizerOf(setting);
    this.spoiled = spoiled;
    this.#layout = planLayout(parameters, 2, { maxSegmentElements });
    const regions = reserveRegions(this.#layout, {
      slots: numSlots,
      wire: 'float32',
      onNotFinite: 'stop',
      optimizer: this.#optimizer,
      bucketBytes,
    });
    this.machines = Array.from({ length: numWorkers }, () => {
      const memory = FlatMemory.create(this.#layout, regions);
      const times = makeCommTimes();
      return {
        memory,
        shared: this.#pages.share(memory, firstShared),
        times,
        lateTurns: 1,
        committed: 0,
        kept: noPartials,
      };
    });
    this.ranges = assignSlots(numSlots, numWorkers);
  }

  close(): void {
    for (const { shared } of this.machines) this.#pages.close(shared);
  }

  /** All workers train to `numSteps`, or until a halt comes at turn `haltAt`. */
  async train(numSteps: number, haltAt = Infinity): Promise<readonly (Outcome | undefined)[]> {
    this.#generation++;
    const step = Math.max(...this.machines.map(({ committed }) => committed));
    const words = this.machines.map(() => new StepWords(makeStepWords(step, 1)));
    let numTurns = 0;
    const turn = async (): Promise<void> => {
      if (++numTurns === haltAt) for (const one of words) one.close(() => undefined);
      await turnOfTheEventLoop();
    };
    const plans = this.machines.map((_, rank) => this.#plan(rank));
    const windows = this.machines.map((machine, rank) => this.#enter(machine, plans[rank]));
    const outcomes = await Promise.all(
      this.machines.map((machine, rank) =>
        this.#run(machine, { plan: plans[rank], words: words[rank], turn, numSteps }),
      ),
    );
    for (const [rank, machine] of this.machines.entries()) {
      const { memory, shared: own } = machine;
      windows[rank]?.close({ memory, pages: this.#pages, own });
      machine.committed = words[rank]?.numCommitted ?? NaN;
    }
    return outcomes;
  }

  lose(lost: number): void {
    const isLost = this.machines.map((_, rank) => rank === lost);
    this.ranges = reassignSlots(this.ranges, isLost);
    for (const { shared } of this.machines.filter((_, rank) => rank === lost)) this.#pages.close(shared);
    this.machines = this.machines.filter((_, rank) => rank !== lost);
    const furthest = this.machines.reduce((most, one) => (one.committed > most.committed ? one : most));
    for (const behind of this.machines.filter(({ committed }) => committed < furthest.committed)) {
      for (const { segment, address, numBytes } of cutState(behind.memory, this.#optimizer)) {
        behind.memory.bytes(segment, address, numBytes).set(furthest.memory.bytes(segment, address, numBytes));
      }
    }
  }

  #plan(rank: number): AllReducePlan {
    const workers = this.ranges.map((range) => ({ ...range, hostId: 'host' }));
    const { segments } = this.#layout;
    const setting = { generation: this.#generation, rank, slots: this.#setting.numSlots, workers, segments };
    const plan = planAllReduce({ ...setting, bucketBytes, sharesMemory: true });
    expect(plan.isLocal).toBe(true);
    return plan;
  }

  #enter({ memory }: Machine, plan: AllReducePlan | undefined): Windows {
    const windows = new Windows();
    if (!plan) return windows;
    new Boards(plan, memory, this.#pages).clear();
    for (const [rank, { shared }] of this.machines.entries()) {
      if (rank !== plan.rank) windows.open(rank, shared, { plan, memory, pages: this.#pages });
    }
    return windows;
  }

  async #run(
    machine: Machine,
    given: {
      readonly plan: AllReducePlan | undefined;
      readonly words: StepWords | undefined;
      readonly turn: () => Promise<void>;
      readonly numSteps: number;
    },
  ): Promise<Outcome | undefined> {
    const { plan, words, turn, numSteps } = given;
    if (!plan || !words) return undefined;
    const { memory, times } = machine;
    // Who waits gives the turn to the others, which are in the same thread.
    const pages = { wake: () => undefined, awaitWord: () => false };
    const optimizer = this.#optimizer;
    const reduction = new LocalReduction({ plan, memory, pages, optimizer, words, times, turn });
    let outcome: Outcome | undefined;
    for (let step = words.numCommitted; step < numSteps; step++) {
      for (let turns = 0; turns < machine.lateTurns; turns++) await turn();
      this.#compute(machine, plan, step);
      outcome = await reduction.reduce(step);
      if (outcome.type !== 'committed') break;
    }
    return outcome;
  }

  #compute(machine: Machine, { slots }: AllReducePlan, step: number): void {
    const range = { firstSlot: slots[0] ?? 0, endSlot: (slots.at(-1) ?? -1) + 1 };
    for (const slot of slotsToCompute(machine.kept, step, range)) {
      for (const [segment, { reducedElements }] of this.#layout.segments.entries()) {
        const view = machine.memory.view(slotRegion(slot), segment);
        for (let i = 0; i < reducedElements; i++) view[i] = gradient(step, slot, segment, i);
      }
      const { spoiled } = this;
      if (spoiled?.step === step && spoiled.slot === slot)
        machine.memory.view(slotRegion(slot), 0)[spoiled.element] = NaN;
      machine.kept = withPartial(machine.kept, step, slot);
    }
  }
}

const settings = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 4 }),
  numSlots: fc.integer({ min: 1, max: 7 }),
  workers: fc.nat(6),
});

function expectBits(host: Host, { sizes, numSlots, clipNorm }: Setting, numSteps: number): void {
  const oracle = new World({ sizes, numSlots, numWorkers: 1, bucketBytes, maxSegmentElements, clipNorm });
  const { parameters } = oracle.expected(numSteps);
  for (const { memory, committed } of host.machines) {
    expect(committed).toBe(numSteps);
    expect(Buffer.from(memory.view(PARAMETERS, 0).slice().buffer).equals(Buffer.from(parameters.buffer))).toBe(true);
  }
}

describe.skipIf(addon === null)('the reduction in memory', () => {
  it('gives every worker the bits of the naive sum', async () => {
    await fc.assert(
      fc.asyncProperty(settings, async ({ workers, ...rest }) => {
        const setting = { ...rest, numWorkers: 1 + (workers % rest.numSlots) };
        const host = new Host(setting);
        await host.train(4);
        host.close();
        expectBits(host, setting, 4);
      }),
      { numRuns: 25 },
    );
  });

  it('clips the norm of the whole gradient', async () => {
    await fc.assert(
      fc.asyncProperty(settings, fc.constantFrom(1e-3, 1e3, 1e20), async ({ workers, ...rest }, clipNorm) => {
        const setting = { ...rest, numWorkers: 1 + (workers % rest.numSlots), clipNorm };
        const host = new Host(setting);
        await host.train(3);
        host.close();
        expectBits(host, setting, 3);
      }),
      { numRuns: 15 },
    );
  });

  it('tells whom it waited for longest, and for how long', async () => {
    const host = new Host({ sizes: [100], numSlots: 3, numWorkers: 3 });
    const [, slow] = host.machines;
    if (slow) slow.lateTurns = 1000;
    await host.train(1);
    host.close();
    const told = host.machines.map(({ times }) => times[awaitedRankIndex]);
    expect([told[0], told[2]]).toEqual([1, 1]);
    expect(told[1]).not.toBe(1);
    for (const { times } of host.machines.filter((machine) => machine !== slow)) {
      expect(times[awaitedIndex]).toBeGreaterThan(0);
      expect(times[awaitedIndex]).toBeLessThan(times[networkIndex] ?? 0);
    }
  });

  it('commits no step with a gradient that is not finite, wherever it is, and every worker says so', async () => {
    await fc.assert(
      fc.asyncProperty(
        settings,
        fc.nat(2),
        fc.nat(6),
        fc.nat(3000),
        async ({ workers, ...rest }, step, slot, element) => {
          const { sizes, numSlots } = rest;
          const setting = { ...rest, numWorkers: 1 + (workers % numSlots) };
          const spoiled = { step, slot: slot % numSlots, element: element % (sizes[0] ?? 1) };
          const host = new Host(setting, spoiled);
          const outcomes = await host.train(3);
          host.close();
          expect(host.machines.map(({ committed }) => committed)).toEqual(host.machines.map(() => step));
          const found = outcomes.map((one) => one?.type === 'not-finite' && one.found);
          const names = host.ranges.map(({ firstSlot, endSlot }) => {
            return spoiled.slot >= firstSlot && spoiled.slot < endSlot ? spoiled.slot : null;
          });
          expect(found).toEqual(names.map((name) => ({ what: 'the gradient of p0', slot: name })));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('gives them though a halt comes at any turn, and a worker is lost', async () => {
    await fc.assert(
      fc.asyncProperty(
        settings,
        fc.integer({ min: 1, max: 60 }),
        fc.nat(6),
        async ({ workers, ...rest }, haltAt, lost) => {
          const numSlots = Math.max(2, rest.numSlots);
          const setting = { ...rest, numSlots, numWorkers: 2 + (workers % (numSlots - 1)) };
          const host = new Host(setting);
          await host.train(4, haltAt);
          const committed = host.machines.map((machine) => machine.committed);
          expect(Math.max(...committed) - Math.min(...committed)).toBeLessThanOrEqual(1);
          host.lose(lost % setting.numWorkers);
          await host.train(4);
          host.close();
          expectBits(host, setting, 4);
        },
      ),
      { numRuns: 60 },
    );
  });
});
