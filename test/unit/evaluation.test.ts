import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { LockstepError } from '../../src/errors.js';
import type { Dataset } from '../../src/job/dataset.js';
import type { TrainingStep } from '../../worker/compute/step.js';
import { evaluate } from '../../worker/evaluation.js';

const column = { data: new Float32Array(1), shape: [1, 1] };
const rows = (read: Dataset['read']): Dataset => ({ length: 100, read });
const evaluation = (data: Dataset, onBatch: () => void) =>
  evaluate({
    // All that an evaluation asks of a step.
    step: { metricNames: [], evaluate: () => (onBatch(), { loss: 1, metrics: [] }) } as unknown as TrainingStep,
    data,
    numSlots: 1,
    slots: { firstSlot: 0, endSlot: 1 },
    batchRows: 1,
    numSteps: 7,
  });

describe('an evaluation', () => {
  it('lets messages in between batches, though it waits for nothing', async () => {
    let batches = 0;
    const data = rows(() => ({ x: column, y: column }));
    const evaluating = evaluation(data, () => batches++);
    await turnOfTheEventLoop();
    expect(batches).toBeLessThan(100);
    expect(await evaluating).toEqual([{ slot: 0, rows: 100, loss: 100, metrics: [] }]);
  });

  it('says at which step the data failed', async () => {
    const data = rows(() => {
      throw new Error('the store is gone');
    });
    const failure = await evaluation(data, () => undefined).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(LockstepError);
    expect(failure).toMatchObject({ code: 'ERR_DATA_INVALID', message: 'the store is gone (at step 7)' });
  });
});
