/** Rows that the model makes: for each slot and step anew, with the weights that the step begins with. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CollectContext } from '../../src/job/dataset.js';
import { Sampler } from '../../src/job/sampler.js';
import { rollouts, type RolloutsOptions } from '../../worker/data/rollouts.js';
import { SlotReader } from '../../worker/slot-reader.js';
import type { TrainingStep } from '../../worker/compute/step.js';
import { build, classBatch } from './compute/toy.js';

const sampler = new Sampler({ rows: 24, batchSize: 8, slots: 2, seed: 7, shuffle: true, lastBatch: 'drop' });

let step: TrainingStep;
beforeAll(async () => {
  step = await build({});
});
afterAll(() => {
  step.dispose();
});

/** Inputs at random, and what the model says of them. */
function ask({ numRows, random, predict }: CollectContext): ReturnType<RolloutsOptions['collect']> {
  const x = { data: Float32Array.from({ length: numRows * 6 }, random), shape: [numRows, 6] };
  return { x, y: predict(x) };
}

async function reader(options: Partial<RolloutsOptions> = {}): Promise<SlotReader> {
  const data = await rollouts({ rowsPerEpoch: 24, x: [6], y: [3], collect: ask, ...options }).open({ baseDir: '.' });
  return new SlotReader({ step, sampler, data, seed: 7, slotsAt: () => [0, 1] });
}

/** All numbers of a step, by slot. */
async function read(from: SlotReader, at: number): Promise<number[][]> {
  return (await from.read(at)).map(({ batch }) => [...(batch?.x.data ?? []), ...(batch?.y.data ?? [])]);
}

describe('rows that the model makes', () => {
  it('follow from the step and the slot, whoever asks and in whatever order', async () => {
    const [one, other] = [await reader(), await reader()];
    const third = await read(one, 2);
    await read(other, 1);
    expect(await read(other, 2)).toEqual(third);
    expect(third[0]).not.toEqual(third[1]);
    expect(await read(one, 1)).not.toEqual(third);
  });

  it('are made with the weights of their step, and not ahead', async () => {
    const rows = await reader();
    const before = await read(rows, 0);
    rows.prefetch(1);
    expect(rows.inHand(1)).toBeNull();
    step.bindWeights(step.weights.map((values) => values.map((value) => value * 2)));
    const after = await read(await reader(), 0);
    expect(after[0]?.slice(0, 24)).toEqual(before[0]?.slice(0, 24));
    expect(after[0]?.slice(24)).not.toEqual(before[0]?.slice(24));
  });

  it('have the model’s outputs in inference mode, as many as asked for', async () => {
    const [first] = await (await reader()).read(0);
    expect(first?.batch?.y.shape).toEqual([4, 3]);
    const sums = Array.from({ length: 4 }, (_, row) =>
      [0, 1, 2].reduce((sum, column) => sum + (first?.batch?.y.data[row * 3 + column] ?? NaN), 0),
    );
    for (const sum of sums) expect(sum).toBeCloseTo(1, 5); // a softmax
  });

  it.each<[string, RolloutsOptions['collect'], RegExp]>([
    ['too few', () => classBatch(3), /collect's x: found 18 numbers of a Float32Array with the shape \[3, 6\]/],
    [
      'of another type',
      (context) => ({ ...ask(context), y: classBatch(4).y }),
      /collect's y: found 4 numbers of a Int32/,
    ],
    [
      'not finite',
      (context) => ({ ...ask(context), y: { data: new Float32Array(12).fill(NaN), shape: [4, 3] } }),
      /collect's y, row 1, number 1: found NaN/,
    ],
    [
      'not there',
      () => {
        throw new Error('the game is over');
      },
      /the game is over \(at step 2\)/,
    ],
  ])('are refused where they are %s', async (_, collect, says) => {
    await expect((await reader({ collect })).read(2)).rejects.toThrow(says);
  });
});
