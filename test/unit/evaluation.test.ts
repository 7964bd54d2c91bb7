import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { LockstepError } from '../../src/errors.js';
import type { Dataset } from '../../src/job/dataset.js';
import type { TrainingStep } from '../../worker/compute/step.js';
import { Evaluation } from '../../worker/evaluation.js';

const column = { data: new Float32Array(1), shape: [1, 1] };
const rows = (read: Dataset['read']): Dataset => ({ length: 100, read });
const evaluationOf = (data: Dataset, onBatch: () => void, numSlots = 1): Evaluation =>
  new Evaluation({
    // All that an evaluation asks of a step.
    step: { metricNames: [], evaluate: () => (onBatch(), { loss: 1, metrics: [] }) } as unknown as TrainingStep,
    data,
    seed: 3,
    numSlots,
    batchRows: 1,
  });
const never = (): boolean => false;
const fail = (): never => {
  throw new Error('the store is gone');
};
const evaluation = (data: Dataset, onBatch: () => void) =>
  evaluationOf(data, onBatch).of({ firstSlot: 0, endSlot: 1 }, 7, never);

describe('an evaluation', () => {
  it('lets messages in between batches, though it waits for nothing', async () => {
    let batches = 0;
    const data = rows(() => ({ x: column, y: column }));
    const evaluating = evaluation(data, () => batches++);
    await turnOfTheEventLoop();
    expect(batches).toBeLessThan(100);
    expect(await evaluating).toEqual([{ slot: 0, rows: 100, loss: 100, metrics: [] }]);
  });

  it('has rows that the model makes, those of each batch from a stream of their own', async () => {
    const asked: unknown[] = [];
    const step = {
      metricNames: [],
      evaluate: () => ({ loss: 1, metrics: [] }),
      predicting: (key: unknown, body: (predict: () => unknown) => unknown) => (asked.push(key), body(() => column)),
    } as unknown as TrainingStep; // All that an evaluation asks of a step.
    const collect: Dataset['collect'] = ({ slot, numRows }) => {
      asked.push({ slot, numRows });
      return { x: column, y: column };
    };
    const data = { ...rows(() => ({ x: column, y: column })), length: 5, collect };
    const made = new Evaluation({ step, data, seed: 3, numSlots: 2, batchRows: 2 });
    await made.of({ firstSlot: 0, endSlot: 2 }, 7, never);
    const key = { purpose: 'trial', seed: 3, step: 7 };
    expect(asked).toEqual([
      ...[
        { ...key, row: 0 },
        { slot: 0, numRows: 2 },
        { ...key, row: 2 },
        { slot: 1, numRows: 2 },
      ],
      ...[
        { ...key, row: 4 },
        { slot: 1, numRows: 1 },
      ],
    ]);
  });

  it('is of the averages where there are any, and leaves the step its own weights', async () => {
    const [own, averages] = [[new Float32Array(1)], [new Float32Array(2)]];
    let bound: readonly Float32Array[] = own;
    const used: (readonly Float32Array[])[] = [];
    const evaluating = new Evaluation({
      // All that an evaluation asks of a step.
      step: {
        metricNames: [],
        get weights() {
          return bound;
        },
        bindWeights: (views: readonly Float32Array[]) => (bound = views),
        evaluate: () => (used.push(bound), { loss: 1, metrics: [] }),
      } as unknown as TrainingStep,
      data: { length: 3, read: ({ 0: row = 0 }) => (row < 2 ? { x: column, y: column } : fail()) },
      seed: 3,
      numSlots: 1,
      batchRows: 1,
      averages,
    });
    await expect(evaluating.of({ firstSlot: 0, endSlot: 1 }, 7, never)).rejects.toThrow('the store is gone');
    expect(used).toEqual([averages, averages]);
    expect(bound).toBe(own);
  });

  it('that is there is given at once, and binds no weights', async () => {
    let numBound = 0;
    const step = {
      metricNames: [],
      weights: [],
      bindWeights: () => numBound++,
      evaluate: () => ({ loss: 1, metrics: [] }),
    };
    const evaluating = new Evaluation({
      step: step as unknown as TrainingStep, // All that an evaluation asks of a step.
      data: { length: 4, read: () => ({ x: column, y: column }) },
      ...{ seed: 3, numSlots: 2, batchRows: 1, averages: [new Float32Array(1)] },
    });
    const slots = { firstSlot: 0, endSlot: 2 };
    const first = await evaluating.of(slots, 7, never);
    expect(numBound).toBe(2);
    expect(await evaluating.of(slots, 7, () => true)).toEqual(first);
    expect(numBound).toBe(2);
  });

  it('says at which step the data failed', async () => {
    const data = rows(fail);
    const failure = await evaluation(data, () => undefined).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(LockstepError);
    expect(failure).toMatchObject({ code: 'ERR_DATA_INVALID', message: 'the store is gone (at step 7)' });
  });

  it('is taken up where a generation ended, and gives what it has once more', async () => {
    let batches = 0;
    const data = rows(() => ({ x: column, y: column }));
    const evaluating = evaluationOf(data, () => batches++, 4);
    expect(await evaluating.of({ firstSlot: 1, endSlot: 3 }, 7, () => batches >= 25)).toBe(null);
    const results = await evaluating.of({ firstSlot: 1, endSlot: 4 }, 7, never);
    expect({ batches, slots: results?.map(({ slot }) => slot) }).toEqual({ batches: 75, slots: [1, 2, 3] });
    await evaluating.of({ firstSlot: 1, endSlot: 2 }, 8, never);
    expect(batches).toBe(100);
  });
});
