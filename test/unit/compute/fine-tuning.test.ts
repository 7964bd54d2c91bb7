/** What of a model is trained: frozen parameters, and low-rank adapters, in models of either kind. */
import type { Sequential } from '@tensorflow/tfjs';
import { afterEach, describe, expect, it } from 'vitest';
import { mergeLora } from '../../../src/state/lora.js';
import type { TrainingStep } from '../../../worker/compute/step.js';
import { build as buildStep, classBatch, functionalMlp, given, maxDifference, runSlot, spread, tf } from './toy.js';

const built: TrainingStep[] = [];
afterEach(() => built.splice(0).forEach((step) => step.dispose()));

async function build(job: Parameters<typeof buildStep>[0]): Promise<TrainingStep> {
  const { model = () => functionalMlp(), loss = 'sparseCategoricalCrossentropy', metrics = [], ...rest } = job;
  const step = await buildStep({ job: { model, loss, metrics, ...rest } });
  built.push(step);
  return step;
}

function layersMlp(): Sequential {
  return tf.sequential({
    layers: [
      tf.layers.dense({ name: 'hidden', units: 5, activation: 'relu', inputShape: [6] }),
      tf.layers.batchNormalization({ name: 'norm' }),
      tf.layers.dense({ name: 'output', units: 3, activation: 'softmax' }),
    ],
  });
}

const kinds = [
  { kind: 'a function', model: functionalMlp, first: 'kernel1', last: 'kernel2', bias: 'bias2' },
  { kind: 'layers', model: layersMlp, first: 'hidden/kernel', last: 'output/kernel', bias: 'output/bias' },
] as const;

const namesOf = (step: TrainingStep, trainable: boolean): string[] =>
  step.parameters.filter((one) => one.trainable === trainable).map(({ name }) => name);

/** The same weights with those that are named replaced. */
function bind(step: TrainingStep, values: Readonly<Record<string, Float32Array>>): void {
  step.bindWeights(step.parameters.map(({ name }, index) => values[name] ?? given(step.weights[index]).slice()));
}

const weightsOf = (step: TrainingStep) =>
  new Map(
    step.parameters.map(({ name, shape }, index) => [name, { shape, values: given(step.weights[index]).slice() }]),
  );

describe.each(kinds)('in a model of $kind', ({ model, first, last, bias }) => {
  it('what is frozen has no gradient, and what is not has the same', async () => {
    const whole = await build({ model });
    const part = await build({ model, freeze: [first, '*bias*'] });
    expect(part.parameters.filter(({ frozen }) => frozen).map(({ name }) => name)).toEqual(
      namesOf(whole, true).filter((name) => name === first || name.includes('bias')),
    );
    const expected = new Map(
      namesOf(whole, true).map((name, index) => [name, runSlot(whole, classBatch()).gradients[index]]),
    );
    const { gradients, state } = runSlot(part, classBatch());
    expect(gradients).toEqual(namesOf(part, true).map((name) => expected.get(name)));
    expect(gradients.length).toBeGreaterThan(0);
    // Moving averages go on.
    expect(state).toEqual(runSlot(whole, classBatch()).state);
  });

  it('adapters begin as nothing: the loss is that of the model alone', async () => {
    const whole = await build({ model });
    const adapted = await build({ model, lora: { rank: 2, alpha: 8, targets: [first], train: [bias] } });
    expect(namesOf(adapted, true)).toEqual([`${first}/lora_a`, `${first}/lora_b`, bias]);
    expect(adapted.parameters.filter(({ frozen }) => frozen).map(({ name }) => name)).toEqual(
      namesOf(whole, true).filter((name) => name !== bias),
    );
    expect(runSlot(adapted, classBatch()).loss).toBe(runSlot(whole, classBatch()).loss);
    const [a, b] = runSlot(adapted, classBatch()).gradients;
    expect(a?.every((value) => value === 0)).toBe(true);
    expect(b?.some((value) => value !== 0)).toBe(true);
  });

  it("adapters have the gradients that follow from their matrix's", async () => {
    const rank = 2;
    const adapted = await build({ model, lora: { rank, alpha: 6, targets: [last], train: [] } });
    const [a, b] = [spread(5 * rank, 3), spread(rank * 3, 4)];
    bind(adapted, { [`${last}/lora_a`]: a, [`${last}/lora_b`]: b });
    const merged = await build({ model });
    bind(
      merged,
      Object.fromEntries(
        [...mergeLora(weightsOf(adapted), { rank, alpha: 6 })].map(([name, one]) => [name, one.values]),
      ),
    );

    const found = runSlot(adapted, classBatch());
    const expected = runSlot(merged, classBatch());
    expect(found.loss).toBeCloseTo(expected.loss, 6);
    const ofMatrix = given(expected.gradients[namesOf(merged, true).indexOf(last)]);
    const g = (row: number, column: number): number => given(ofMatrix[row * 3 + column]);
    const ofA = Float32Array.from({ length: 5 * rank }, (_, at) =>
      [0, 1, 2].reduce((sum, j) => sum + 3 * g(Math.floor(at / rank), j) * given(b[(at % rank) * 3 + j]), 0),
    );
    const ofB = Float32Array.from({ length: rank * 3 }, (_, at) =>
      [0, 1, 2, 3, 4].reduce((sum, i) => sum + 3 * given(a[i * rank + Math.floor(at / 3)]) * g(i, at % 3), 0),
    );
    expect(maxDifference(found.gradients, [ofA, ofB])).toBeLessThan(1e-6);
  });
});

describe('a model', () => {
  it('draws the same first values with adapters as without', async () => {
    const whole = await build({ model: layersMlp });
    const adapted = await build({ model: layersMlp, lora: { rank: 1, alpha: 1, targets: ['*'], train: [] } });
    const values = weightsOf(adapted);
    for (const [name, { values: expected }] of weightsOf(whole))
      expect(values.get(name)?.values, name).toEqual(expected);
  });

  it.each([
    { job: { freeze: ['nothing*'] }, message: 'freeze: "nothing*" matches none' },
    { job: { freeze: ['*'] }, message: 'leaves nothing to train' },
    {
      job: { lora: { rank: 1, alpha: 1, targets: ['bias1'], train: [] } },
      message: 'lora.targets: "bias1" matches none',
    },
    { job: { lora: { rank: 1, alpha: 1, targets: ['*'], train: ['x'] } }, message: 'lora.train: "x" matches none' },
  ])('that would not be trained as the job says is refused: $message', async ({ job, message }) => {
    const before = tf.memory().numTensors;
    await expect(build(job)).rejects.toThrow(message);
    expect(tf.memory().numTensors).toBe(before);
  });
});
