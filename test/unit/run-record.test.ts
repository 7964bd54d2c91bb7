import { describe, expect, it } from 'vitest';
import { RunRecord } from '../../coordinator/run-record.js';
import type { SlotEvaluation } from '../../src/protocol/messages.js';
import { Schedule } from '../../src/job/schedule.js';

const schedule = new Schedule({
  rows: 10,
  batchSize: 4,
  slots: 3,
  seed: 0,
  shuffle: true,
  lastBatch: 'keep',
  epochs: 4,
});

function newRecord(firstStep = 0): RunRecord {
  const shape = { schedule, metricNames: ['accuracy'], engine: 'e', compiled: false, firstStep };
  return new RunRecord(shape, 3, null);
}

// Added from left to right, these give 1; in any other order of the first with the last two, 0 or 2.
const slots = [
  { slot: 0, rows: 1, loss: 1e16, metrics: [1] },
  { slot: 1, rows: 2, loss: -1e16, metrics: [2] },
  { slot: 2, rows: 1, loss: 1, metrics: [0] },
];

describe('a validation', () => {
  const [first, second, third] = slots as [(typeof slots)[0], (typeof slots)[0], (typeof slots)[0]];

  it.each([
    [[first], [second], [third]],
    [[third], [first], [second]],
    [[second, third], [first]],
    [[third, second, first]],
  ])('has the same bits in whatever order and company the slots come in (%#)', (...messages) => {
    const record = newRecord();
    const results = messages.map((message) => record.addEvaluation(3, message));
    expect(results.slice(0, -1).every((result) => result === null)).toBe(true);
    expect(results.at(-1)).toEqual({ step: 3, epoch: 1, metrics: { val_loss: 0.25, val_accuracy: 0.75 } });
  });

  it('of one step takes nothing from another', () => {
    const record = newRecord();
    record.addEvaluation(3, [first, second]);
    expect(record.addEvaluation(6, [third])).toBeNull();
    expect(record.addEvaluation(3, [third])?.step).toBe(3);
  });
});

describe('validations that a new generation need not make', () => {
  it('are those up to the last that is whole', () => {
    const record = newRecord();
    record.addEvaluation(3, slots);
    record.addEvaluation(6, slots.slice(1));
    expect(record.numValidated).toBe(3);
  });

  it('are those before a resume', () => {
    expect(newRecord(6).numValidated).toBe(6);
  });
});

describe('after a loss', () => {
  it('steps that are told again change nothing', () => {
    const record = newRecord();
    const told = (...steps: number[]): number[] => {
      const records = steps.map((step) => ({ step, loss: step, metrics: [0] }));
      return record.addSteps({ records, stepTime: null }, 0).map(({ step }) => step);
    };
    expect(told(1, 2)).toEqual([1, 2]);
    expect(told(2, 3)).toEqual([3]);
    expect(told(1, 2)).toEqual([]);
    expect(record.numSteps).toBe(3);
  });

  it('slots that are evaluated again count once, and so does the validation', () => {
    const record = newRecord();
    const slot = (index: number): SlotEvaluation => ({ slot: index, rows: 1, loss: index, metrics: [0] });
    expect(record.addEvaluation(3, [slot(0), slot(1)])).toBeNull();
    expect(record.addEvaluation(3, [slot(1)])).toBeNull();
    expect(record.addEvaluation(3, [slot(1), slot(2)])?.metrics).toMatchObject({ val_loss: 1 });
    expect(record.addEvaluation(3, [slot(0), slot(1), slot(2)])).toBeNull();
  });
});

describe('steps', () => {
  it('are named by epoch, counted from 1, with the metrics by name', () => {
    const record = newRecord();
    const lines = record.addSteps(
      {
        records: [
          { step: 3, loss: 2, metrics: [0.5] },
          { step: 4, loss: 1, metrics: [0.75] },
        ],
        stepTime: { compute: 2 },
      },
      10,
    );
    expect(lines.map(({ step, epoch }) => [step, epoch])).toEqual([
      [3, 1],
      [4, 2],
    ]);
    expect(record.stepTime).toEqual({ compute: 2 });
    expect(record.last).toEqual({ step: 4, epoch: 2, loss: 1, metrics: { accuracy: 0.75 } });
  });

  it('before a resume do not count towards the rate', () => {
    const record = newRecord(3);
    record.start(1000, 3);
    record.addSteps({ records: [{ step: 6, loss: 1, metrics: [1] }], stepTime: null }, 3000);
    expect(record.samplesPerSecond()).toBe(5); // the second epoch's 10 rows in 2 s
  });
});

describe('the schedule', () => {
  it('counts the rows of shorter last batches as they are', () => {
    expect([0, 1, 2, 3, 4, 6, 7].map((steps) => schedule.rowsSeen(steps))).toEqual([0, 4, 8, 10, 14, 20, 24]);
  });

  it('ends at the steps asked for, or with the last epoch', () => {
    expect(schedule.totalSteps).toBe(12);
    const config = { rows: 10, batchSize: 4, slots: 1, seed: 0, shuffle: true, lastBatch: 'drop', epochs: 3 } as const;
    expect(new Schedule({ ...config, steps: 5 }).totalSteps).toBe(5);
    expect(new Schedule({ ...config, steps: 50 }).totalSteps).toBe(6);
  });

  it('wants a checkpoint at each end of an epoch, and as often inside as it is told', () => {
    const config = { rows: 12, batchSize: 4, slots: 1, seed: 0, shuffle: true, lastBatch: 'drop', epochs: 2 } as const;
    const wanted = (every?: number): number[] => {
      const one = new Schedule({ ...config, checkpointEverySteps: every });
      return [0, 1, 2, 3, 4, 5, 6].filter((steps) => one.wantsCheckpoint(steps));
    };
    expect(wanted()).toEqual([3, 6]);
    expect(wanted(2)).toEqual([2, 3, 4, 6]);
  });
});
