import { describe, expect, it } from 'vitest';
import { describeStraggler, Stragglers } from '../../coordinator/stragglers.js';
import type { Straggler } from '../../src/run-summary.js';

type Times = readonly [data: number, compute: number];

/** Heartbeats of a run whose workers have these slots; each tells of one more step. */
class Run {
  readonly stragglers = new Stragglers();
  readonly changes: Straggler[] = [];
  generation = 1;
  step = 0;
  readonly #slots: Readonly<Record<string, number>>;

  constructor(slots: Readonly<Record<string, number>>) {
    this.#slots = slots;
  }

  beat(numTimes: number, times: Readonly<Record<string, Times>>, stepBy = 1): this {
    const workers = Object.entries(this.#slots).map(([workerId, numSlots]) => ({ workerId, numSlots }));
    for (let i = 0; i < numTimes; i++) {
      this.step += stepBy;
      for (const [workerId, [data, compute]] of Object.entries(times)) {
        const pace = { data, compute, network: 50, optimizer: 1 };
        const known = { generation: this.generation, workers, nowMs: this.step * 100 };
        const change = this.stragglers.add(workerId, { step: this.step, pace }, known);
        if (change) this.changes.push(change);
      }
    }
    return this;
  }
}

const fast: Times = [1, 4];

describe('a straggler', () => {
  it('is named after ten heartbeats in a row, with how much slower it is, and where', () => {
    const run = new Run({ a: 1, b: 1, c: 1 });
    run.beat(9, { a: fast, b: fast, c: [1, 11.5] });
    expect(run.changes).toEqual([]);
    run.beat(2, { a: fast, b: fast, c: [1, 11.5] });
    expect(run.changes).toMatchObject([
      { workerId: 'c', factor: 2.5, phase: 'compute', ownMs: 11.5, othersMs: 4, untilStep: null },
    ]);
    expect(run.stragglers.of('c')).toBe(run.changes[0]);
    expect(run.stragglers.of('a')).toBeNull();
  });

  it('is one in reading rows where that is what takes longer', () => {
    const run = new Run({ a: 1, b: 1 }).beat(12, { a: fast, b: [7, 5] });
    expect(run.changes).toMatchObject([{ workerId: 'b', phase: 'data', ownMs: 7, othersMs: 1 }]);
  });

  it('is not one that has more slots', () => {
    const run = new Run({ a: 1, b: 3 }).beat(30, { a: [1, 4], b: [3, 12] });
    expect(run.changes).toEqual([]);
  });

  it('is not one that was slow now and then, or that told the same step again', () => {
    const run = new Run({ a: 1, b: 1 });
    for (let i = 0; i < 5; i++) run.beat(9, { a: fast, b: [1, 20] }).beat(1, { a: fast, b: fast });
    run.beat(1, { a: fast, b: [1, 20] }).beat(30, { a: fast, b: [1, 20] }, 0);
    expect(run.changes).toEqual([]);
  });

  it('is not one whose steps are shorter than what can be told apart', () => {
    const run = new Run({ a: 1, b: 1 }).beat(30, { a: [0, 0.02], b: [0, 0.1] });
    expect(run.changes).toEqual([]);
  });

  it('stays one until it is clearly faster, and is told of once', () => {
    const run = new Run({ a: 1, b: 1 }).beat(30, { a: fast, b: [1, 14] }).beat(30, { a: fast, b: [1, 6] });
    expect(run.changes).toHaveLength(1);
    run.beat(10, { a: fast, b: [1, 4.5] });
    expect(run.changes.map(({ untilStep }) => untilStep)).toEqual([null, 70]);
    expect(run.stragglers.of('b')).toBeNull();
  });

  it('stays one in a new generation that has it, for as long as before', () => {
    const run = new Run({ a: 1, b: 1 }).beat(12, { a: fast, b: [1, 14] });
    run.generation = 2;
    run.beat(1, { a: fast, b: [1, 14] });
    expect(run.stragglers.slowForMs('b', 2300)).toBe(2300 - 1000);
    expect(run.changes).toHaveLength(1);
  });

  it('is none where it is alone', () => {
    expect(new Run({ a: 1 }).beat(30, { a: [1, 100] }).changes).toEqual([]);
  });
});

it('says which worker, how much slower, and in which phase', () => {
  const straggler = { workerId: 'w1', factor: 2.34, phase: 'compute', ownMs: 12.1, othersMs: 5.2 } as const;
  expect(describeStraggler({ ...straggler, sinceStep: 120, untilStep: null })).toBe(
    'worker w1 is a straggler at step 120: 2.3 times as slow as the others; compute takes 12.10 ms per slot, 5.20 ms elsewhere',
  );
});
