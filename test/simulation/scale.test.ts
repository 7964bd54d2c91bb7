/**
 * The simulation of many workers (bench/scale): the real state machine over virtual cards, threads and a clock. Its oracles
 * are arithmetic (formula.ts) and a ledger that follows every slot's partial by name, and knows nothing of the machine.
 */
import { describe, expect, it } from 'vitest';
import { calibrate, readMeasurements } from '../../bench/scale/calibration.js';
import { Collective, type Work } from '../../bench/scale/collective.js';
import type { TreeNode } from '../../src/collective/tree.js';
import { EventQueue } from '../../bench/scale/event-queue.js';
import { predict } from '../../bench/scale/formula.js';
import { memoryOf } from '../../bench/scale/memory.js';
import { defaultNetwork, type Network, type ThreadCosts } from '../../bench/scale/network.js';
import { uniformNumbers } from '../../bench/scale/random.js';
import { simulate, type Frame, type Observer, type SimulationOptions } from '../../bench/scale/simulation.js';

const MiB = 2 ** 20;
const free: ThreadCosts = { wakeSeconds: 0, frameSeconds: 0, byteSeconds: 0, sumByteSeconds: 0, applyByteSeconds: 0 };
/** So much bandwidth that it does not count. */
const endless = 1e18;

interface Case {
  readonly numWorkers: number;
  readonly numBytes?: number;
  readonly bucketBytes?: number;
  readonly levels?: 'flat' | 'two-level';
  readonly isSharded?: boolean;
  readonly network?: Partial<Network>;
}

function run(
  { numWorkers, numBytes = MiB, bucketBytes = 4 * MiB, levels = 'two-level', isSharded = false, network }: Case,
  options: Partial<SimulationOptions> = {},
) {
  const whole = { ...defaultNetwork, ...network };
  const { workersPerHost } = whole;
  const collective = new Collective({ numWorkers, workersPerHost, numBytes, bucketBytes, levels, isSharded });
  const result = simulate({ collective, network: whole, ...options });
  const predicted = predict(whole, { numWorkers, numBytes, bucketBytes, levels, isSharded });
  return { result, predicted, collective };
}

function nodesOf(node: TreeNode): TreeNode[] {
  return [node, ...(node.children ?? []).flatMap(nodesOf)];
}

/** Follows what each worker holds: how often each slot came for each of its sums, and which sums it has. */
class Ledger implements Observer {
  readonly #collective: Collective;
  /** By worker, step, bucket and chunk: how often each slot came. */
  readonly #slots = new Map<string, number[]>();
  /** Likewise: the sum is here. */
  readonly #sums = new Set<string>();
  /** Likewise: the host's part of it is. */
  readonly #combined = new Set<string>();
  readonly #nodes: ReadonlyMap<number, TreeNode>;
  /** By worker. */
  readonly #commits = new Map<number, number>();

  constructor(collective: Collective) {
    this.#collective = collective;
    this.#nodes = new Map(nodesOf(collective.plan.tree).map((node) => [node.id, node]));
  }

  get commits(): number[] {
    return [...this.#commits.values()];
  }

  onReceived({ from, to, message }: Frame): void {
    const { type, step, bucket, chunk } = message;
    const here = `${to} ${step} ${bucket} ${chunk}`;
    if (type === 'result') {
      expect(this.#sums.has(`${from} ${step} ${bucket} ${chunk}`)).toBe(true);
      expect(this.#sums.has(here)).toBe(false);
      this.#sums.add(here);
      return;
    }
    const node = this.#nodes.get(message.node);
    expect(node).toBeDefined();
    if (!node) return;
    const isOwn = node.children === null && node.firstSlot === from;
    expect(isOwn || this.#combined.has(`${from} ${step} ${bucket} ${chunk}`)).toBe(true);
    const slots = this.#slotsOf(here);
    for (let slot = node.firstSlot; slot < node.endSlot; slot++) slots[slot] = (slots[slot] ?? 0) + 1;
  }

  onWork(rank: number, step: number, work: Work): void {
    if (work.type === 'sum' || work.type === 'combine') {
      const here = `${rank} ${step} ${work.bucket} ${work.chunk}`;
      const own = this.#slotsOf(here).map((count, slot) => (slot === rank ? count + 1 : count));
      const host = Math.floor(rank / defaultNetwork.workersPerHost);
      const wanted = own.map((_, slot) =>
        work.type === 'sum' || Math.floor(slot / defaultNetwork.workersPerHost) === host ? 1 : 0,
      );
      expect(own).toEqual(wanted);
      (work.type === 'sum' ? this.#sums : this.#combined).add(here);
    }
    if (work.type === 'apply' || work.type === 'copy') {
      const chunks = this.#collective.plan.buckets.flatMap((bucket) =>
        bucket.chunks.map((chunk) => `${rank} ${step} ${bucket.index} ${chunk.index}`),
      );
      expect(chunks.filter((chunk) => !this.#sums.has(chunk))).toEqual([]);
    }
    if (work.type === 'commit') this.#commits.set(rank, (this.#commits.get(rank) ?? 0) + 1);
  }

  #slotsOf(key: string): number[] {
    const slots = this.#slots.get(key) ?? new Array<number>(this.#collective.numWorkers).fill(0);
    this.#slots.set(key, slots);
    return slots;
  }
}

describe('a simulated all-reduce', () => {
  it.each([
    ['alike', { numWorkers: 16, numBytes: MiB, bucketBytes: MiB / 4 }],
    ['that exchange all', { numWorkers: 5, numBytes: 65_536 }],
    ['that exchange the last bucket', { numWorkers: 6, numBytes: 2 * MiB + 4096, bucketBytes: MiB }],
    ['of chunks of several sizes, some empty', { numWorkers: 13, numBytes: 64 * 101, bucketBytes: 64 * 30 }],
    ['over two levels whose hosts are several nodes of the tree', { numWorkers: 24, bucketBytes: MiB / 2 }],
    ['that share out the moments', { numWorkers: 16, numBytes: MiB / 8, isSharded: true }],
    ['on hosts with fewer cores than workers', { numWorkers: 24, numBytes: MiB, network: { coresPerHost: 3 } }],
    ['with no latency', { numWorkers: 9, network: { latencySeconds: 0, localLatencySeconds: 0, costs: free } }],
  ])('sums every partial exactly once, in workers %s, step after step', (_, workers) => {
    const { collective } = run(workers);
    const ledger = new Ledger(collective);
    run(workers, { mirrored: false, numSteps: 3, computeSeconds: 1e-4, jitter: 1, seed: 5, observer: ledger });
    expect(ledger.commits).toEqual(new Array(workers.numWorkers).fill(3));
  });

  // By hand. Flat: 8 workers each send 8 others 1/16 of 1 MiB, twice. Two levels: 2 (H - 1) / H of 1 MiB for H hosts.
  it.each([
    ['flat', 8, 8, 0],
    ['flat', 16, 8, 8 * MiB],
    ['flat', 64, 8, 14 * MiB],
    ['flat', 8, 2, (3 * 2 * MiB) / 2],
    ['two-level', 8, 8, 0],
    ['two-level', 16, 8, MiB],
    ['two-level', 64, 8, 1.75 * MiB],
    ['two-level', 8, 2, 1.5 * MiB],
    ['two-level', 8, 1, 1.75 * MiB],
  ] as const)(
    '%s takes just the bytes per card of the formula: 1 MiB, %i workers, %i to a host',
    (levels, numWorkers, workersPerHost, bytes) => {
      const { result, predicted } = run({ levels, numWorkers, bucketBytes: MiB / 2, network: { workersPerHost } });
      expect(predicted.cardBytes).toBe(bytes);
      expect(result.cardBytesOut).toBe(bytes);
      expect(result.cardBytesIn).toBe(bytes);
      expect(result.framesSent).toBe(predicted.numFrames);
    },
  );

  it.each([
    [16, 'flat'],
    [64, 'flat'],
    [128, 'flat'],
    [16, 'two-level'],
    [64, 'two-level'],
    [128, 'two-level'],
  ] as const)('is near the formula where the cards are the limit: %i workers, %s', (numWorkers, levels) => {
    const network = { busBytesPerSecond: endless, costs: free };
    const { result, predicted } = run({ levels, numWorkers, numBytes: 64 * MiB, network });
    expect(predicted.seconds).toBeGreaterThan(100 * defaultNetwork.latencySeconds);
    expect(Math.abs(result.stepSeconds / predicted.seconds - 1)).toBeLessThan(0.02);
    expect(result.cardBusy).toBeGreaterThan(0.98);
  });

  it.each([2, 4, 8, 16, 64])(
    'is within 1 % of the formula where latency and frames are the limit, with %i workers',
    (numWorkers) => {
      const costs = { ...free, frameSeconds: 1e-6, wakeSeconds: 2e-6 };
      const network = { cardBytesPerSecond: endless, busBytesPerSecond: endless, costs, workersPerHost: 1 };
      const { result, predicted } = run({ numWorkers, numBytes: 65_536, network });
      expect(Math.abs(result.stepSeconds / predicted.seconds - 1)).toBeLessThan(0.01);
    },
  );

  // By hand, frames of 10 µs after 5 µs to wake: sent at 15 (and 25), there at 115 (and 125), where the thread wakes and
  // has taken them in at 130 (and 140). The second hop begins with the thread awake.
  it.each([
    [2, 64 * 1024, 130e-6],
    [3, 3 * MiB, 275e-6],
  ])('takes one hop with few bytes and two with many: %i workers, %i bytes', (numWorkers, numBytes, seconds) => {
    const costs = { ...free, frameSeconds: 10e-6, wakeSeconds: 5e-6 };
    const network = { workersPerHost: 1, latencySeconds: 100e-6, cardBytesPerSecond: endless, costs };
    expect(run({ numWorkers, numBytes, network }).result.stepSeconds).toBeCloseTo(seconds, 9);
  });

  it.each([
    [2, 'flat'],
    [8, 'flat'],
    [32, 'flat'],
    [32, 'two-level'],
    [128, 'two-level'],
    [32, 'two-level', true],
  ] as const)(
    'is near the formula where the threads are the limit: %i workers, %s',
    (...[numWorkers, levels, isSharded = false]) => {
      const { result, predicted } = run({ levels, isSharded, numWorkers, numBytes: 16 * MiB });
      expect(predicted.threadSeconds).toBeGreaterThan(predicted.cardSeconds);
      expect(Math.abs(result.stepSeconds / predicted.seconds - 1)).toBeLessThan(0.05);
    },
  );

  it('is no faster with more workers, more bytes, more latency, a slower card or fewer cores', () => {
    const seconds = (changes: Partial<Case>): number => run({ numWorkers: 16, ...changes }).result.stepSeconds;
    const rising = (times: readonly number[]): void => {
      expect(times).toEqual([...times].sort((a, b) => a - b));
      expect(times.at(-1)).toBeGreaterThan(times[0] ?? NaN);
    };
    rising([8, 16, 32, 64, 128].map((numWorkers) => seconds({ numWorkers })));
    rising([1, 2, 4, 8].map((factor) => seconds({ numBytes: factor * MiB })));
    rising([1e-5, 1e-4, 1e-3].map((latencySeconds) => seconds({ network: { latencySeconds } })));
    rising([1e10, 1e9, 1e8].map((cardBytesPerSecond) => seconds({ network: { cardBytesPerSecond } })));
    rising([8, 4, 2, 1].map((coresPerHost) => seconds({ network: { coresPerHost } })));
  });

  it.each([
    [16, 8, 8],
    [32, 8, 3],
    [64, 4, 4],
    [12, 3, 3],
  ])(
    'is the same when one host stands for all: %i workers, %i to a host, %i cores',
    (numWorkers, workersPerHost, coresPerHost) => {
      const network = { workersPerHost, coresPerHost };
      const options = { numSteps: 3, computeSeconds: 1e-4 };
      for (const levels of ['flat', 'two-level'] as const) {
        const workers = { levels, numWorkers, numBytes: 12 * 4096 * 16, bucketBytes: 12 * 4096 * 8, network };
        const [mirrored, whole] = [true, false].map((mirrored) => run(workers, { ...options, mirrored }).result);
        expect(mirrored).toEqual(whole);
      }
    },
  );

  it('is the same for the same seed, and another for another', () => {
    const seconds = (seed: number): number =>
      run({ numWorkers: 16 }, { numSteps: 4, computeSeconds: 1e-2, jitter: 0.1, seed }).result.stepSeconds;
    expect(seconds(1)).toBe(seconds(1));
    expect(seconds(1)).not.toBe(seconds(2));
  });

  it('of 1,024 workers is simulated in seconds', () => {
    const { result, predicted } = run({ numWorkers: 1024, numBytes: 4 * MiB });
    expect(result.framesSent).toBe(2 * 1023);
    expect(result.cardBytesOut).toBe(predicted.cardBytes);
  });
});

describe('the memory of a worker', () => {
  it('is that of the region plan, and hardly grows with the workers', () => {
    const memory = [16, 256].map((numWorkers) => {
      const collective = new Collective({
        numWorkers,
        workersPerHost: 8,
        numBytes: 64 * MiB,
        bucketBytes: 4 * MiB,
        levels: 'two-level',
      });
      return memoryOf(collective);
    });
    for (const { parameters, moments, gradients } of memory) {
      expect({ parameters, moments, gradients }).toEqual({
        parameters: 64 * MiB,
        moments: 128 * MiB,
        gradients: 64 * MiB,
      });
    }
    expect((memory[1]?.total ?? 0) / (memory[0]?.total ?? 1)).toBeLessThan(1.1);
  });
});

describe('the memory of a worker whose moments are shared out', () => {
  it('has its share of them', () => {
    const { collective } = run({ numWorkers: 16, numBytes: 16 * MiB, isSharded: true });
    expect(memoryOf(collective).moments).toBe(2 * MiB);
  });
});

describe('the calibration', () => {
  const network = { ...defaultNetwork, coresPerHost: 2 };
  const truth = { ...defaultNetwork.costs, wakeSeconds: 83e-6, byteSeconds: 0.41e-9 };

  /** What a machine with these costs would measure. */
  function measured(workers: number, bytes: number): string {
    const costs = { ...truth, applyByteSeconds: 0 };
    const { result } = run({
      numWorkers: workers,
      numBytes: bytes,
      network: { ...network, workersPerHost: workers, costs },
    });
    return JSON.stringify({ workers, bytes, microseconds: result.stepSeconds * 1e6, busbw: 1 });
  }

  it('finds the costs that made 2 workers measure what they did, and so what 4 measure', () => {
    const lines = [2, 4].flatMap((workers) => [256, 65_536, MiB, 16 * MiB].map((bytes) => measured(workers, bytes)));
    const { costs, fitted, predicted } = calibrate(network, 4 * MiB, readMeasurements(lines.join('\n')));
    expect(costs.wakeSeconds / truth.wakeSeconds).toBeCloseTo(1, 4);
    expect(costs.byteSeconds / truth.byteSeconds).toBeCloseTo(1, 4);
    expect(costs.applyByteSeconds).toBe(truth.applyByteSeconds);
    expect(fitted.map(({ workers }) => workers)).toEqual([2, 2, 2, 2]);
    for (const { error } of predicted) expect(Math.abs(error)).toBeLessThan(1e-3);
  });

  it.each([
    ['{"workers":2}', 'Line 1 is no measurement'],
    ['no JSON', 'Line 1 is no measurement'],
    ['{"workers":4,"bytes":256,"microseconds":1}', 'No line has 2 workers'],
  ])('refuses %s', (text, message) => {
    expect(() => readMeasurements(text)).toThrow(message);
  });
});

describe('the queue of events', () => {
  it('gives them by time, then by order', () => {
    const random = uniformNumbers(3);
    const events = Array.from({ length: 500 }, () => [Math.floor(random() * 9), Math.floor(random() * 1e6)] as const);
    const queue = new EventQueue<readonly [number, number]>();
    for (const event of events) queue.push(...event, event);
    const out = events.map(() => queue.pop());
    expect(out).toEqual([...events].sort((a, b) => a[0] - b[0] || a[1] - b[1]));
    expect(queue.pop()).toBeUndefined();
  });
});
