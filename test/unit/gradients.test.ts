/** The partials of a slot: each micro-batch's gradient, times its share of the rows, added in their order. */
import { describe, expect, test } from 'vitest';
import type { Dataset } from '../../src/job/dataset.js';
import { Sampler } from '../../src/job/sampler.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import type { BucketSignals } from '../../worker/compute/contribution.js';
import type { SlotStep } from '../../worker/compute/step.js';
import { Gradients } from '../../worker/gradients.js';
import { makeStepWords, StepWords } from '../../worker/comm/step-words.js';
import { Readiness } from '../../worker/readiness.js';
import { planBuckets } from '../../src/collective/buckets.js';
import { build, classBatch, runSlot, tf } from './compute/toy.js';

const f32 = Math.fround;
const numRows = 22;
const all = classBatch(numRows);
const data: Dataset = {
  length: numRows,
  read: (indices) => ({
    x: {
      data: Float32Array.from(Array.from(indices).flatMap((row) => [...all.x.data.slice(row * 6, row * 6 + 6)])),
      shape: [indices.length, 6],
    },
    y: { data: Int32Array.from(indices, (row) => all.y.data[row] ?? -1), shape: [indices.length] },
  }),
};
const config = { rows: numRows, batchSize: numRows, slots: 2, seed: 7, shuffle: true, lastBatch: 'keep' } as const;

const model = () =>
  tf.sequential({
    layers: [
      tf.layers.dense({ inputShape: [6], units: 5 }),
      tf.layers.batchNormalization(),
      tf.layers.dropout({ rate: 0.4 }),
      tf.layers.dense({ units: 3, activation: 'softmax' }),
    ],
  });

interface Recorded {
  readonly partial: readonly number[];
  readonly keys: readonly unknown[];
  readonly signals: readonly (BucketSignals | undefined)[];
}

/** The partial of slot 1, and what the step was called with for it. */
async function partialOf(step: SlotStep, microBatches: number): Promise<Recorded> {
  const layout = planLayout(step.parameters, 1 + step.metricNames.length);
  const elements = layout.segments.map((segment) => segment.elements);
  const memory = FlatMemory.create(layout, [{ name: 'slot:1', elements }]);
  // What the step before left there.
  memory.view('slot:1', 0).fill(3);
  const keys: unknown[] = [];
  const signals: (BucketSignals | undefined)[] = [];
  const watched = Object.create(step, {
    gradient: {
      value: (...call: Parameters<SlotStep['gradient']>) => {
        keys.push(call[1]);
        signals.push(call[3]?.signals);
        return step.gradient(...call);
      },
    },
  }) as SlotStep; // The step, with one method watched.
  const buckets = planBuckets(layout.segments);
  const words = new StepWords(makeStepWords(0, buckets.length));
  const readiness = new Readiness({ layout, buckets, words, waker: 0 });
  const slots = { firstSlot: 1, endSlot: 2 };
  const sampler = new Sampler(config);
  const gradients = new Gradients({ step: watched, memory, sampler, data, seed: 7, microBatches, onNotFinite: 'stop' });
  gradients.enter(slots);
  gradients.compute(0, await gradients.rows.read(0), readiness);
  const { segment, offset } = layout.scalars;
  const parameters = layout.parameters.flatMap((parameter) => [...memory.parameterView('slot:1', parameter)]);
  const scalars = memory.view('slot:1', segment).subarray(offset, offset + layout.numScalars);
  return { partial: [...parameters, ...scalars], keys, signals };
}

/** The same from one pass after the other, with sums and products one by one. */
async function naivePartial(step: SlotStep, cuts: readonly number[]): Promise<readonly number[]> {
  const indices = new Sampler(config).indices(0, 1);
  let sum: number[] | undefined;
  for (const [microBatch, first] of cuts.slice(0, -1).entries()) {
    const rows = indices.slice(first, cuts[microBatch + 1]);
    const key = { seed: 7, step: 0, slot: 1, microBatch };
    const { gradients, state, loss, metrics } = runSlot(step, await data.read(rows), key);
    const values = [...gradients, ...state].flatMap((array) => [...array]).concat(loss, metrics);
    const weighed = values.map((value) => f32(f32(value) * f32(rows.length / numRows)));
    sum = sum ? sum.map((value, i) => f32(value + (weighed[i] ?? NaN))) : weighed;
  }
  return sum ?? [];
}

describe('the partial of a slot', () => {
  test.each([
    [1, [0, 11]],
    [3, [0, 3, 7, 11]],
    [4, [0, 2, 5, 8, 11]],
  ])('in %i parts is the weighted sum of theirs', async (microBatches, cuts) => {
    const step = await build({ model, metrics: ['accuracy'] });
    const { partial } = await partialOf(step, microBatches);
    expect(partial).toEqual(await naivePartial(step, cuts));
    step.dispose();
  });

  test('draws other numbers for each part', async () => {
    const step = await build({ model });
    const { keys } = await partialOf(step, 3);
    expect(keys).toEqual([0, 1, 2].map((microBatch) => ({ seed: 7, step: 0, slot: 1, microBatch })));
    step.dispose();
  });

  test('is announced by its last part only', async () => {
    const step = await build({ model });
    const { signals } = await partialOf(step, 3);
    expect(signals.map((one) => one?.value)).toEqual([undefined, undefined, 1]);
    step.dispose();
  });

  test('in more parts than rows is that of one part a row', async () => {
    const step = await build({ model });
    const { partial, keys } = await partialOf(step, 50);
    expect(keys).toHaveLength(11);
    expect(partial).toEqual(
      await naivePartial(
        step,
        Array.from({ length: 12 }, (_, i) => i),
      ),
    );
    step.dispose();
  });
});

test('the rows of a step whose gradient is computed are handed back with the next ones that are read', async () => {
  const step = await build({ model });
  const layout = planLayout(step.parameters, 1 + step.metricNames.length);
  const memory = FlatMemory.create(layout, [
    { name: 'slot:1', elements: layout.segments.map(({ elements }) => elements) },
  ]);
  const given: unknown[] = [];
  const spared: unknown[] = [];
  const watched: Dataset = {
    length: numRows,
    read: async (indices, spare) => {
      spared.push(spare);
      const batch = await data.read(indices);
      given.push(batch);
      return batch;
    },
  };
  const buckets = planBuckets(layout.segments);
  const readiness = new Readiness({
    layout,
    buckets,
    words: new StepWords(makeStepWords(0, buckets.length)),
    waker: 0,
  });
  const sampler = new Sampler(config);
  const options = { step, memory, sampler, data: watched, seed: 7, microBatches: 1, onNotFinite: 'stop' } as const;
  const gradients = new Gradients(options);
  gradients.enter({ firstSlot: 1, endSlot: 2 });
  gradients.compute(0, await gradients.rows.read(0), readiness);
  const next = await gradients.rows.read(1);
  expect(spared).toEqual([undefined, given[0]]);
  gradients.compute(1, next, readiness);
  gradients.enter({ firstSlot: 1, endSlot: 2 });
  await gradients.rows.read(2);
  expect(spared[2]).toBeUndefined();
  step.dispose();
});
