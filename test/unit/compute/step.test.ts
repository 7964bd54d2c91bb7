import type { LayersModel, Sequential, Tensor } from '@tensorflow/tfjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { FunctionalModel } from '../../../src/job/job.js';
import { withSeededRandom } from '../../../worker/compute/random.js';
import type { TrainingStep } from '../../../worker/compute/step.js';
import {
  build as buildStep,
  classBatch,
  firstKey,
  functionalMlp,
  given,
  maxDifference,
  readAll,
  regressionBatch,
  runSlot,
  sharedCopies,
  silentLog,
  spread,
  tf,
} from './toy.js';

const built: TrainingStep[] = [];
afterEach(() => built.splice(0).forEach((step) => step.dispose()));

async function build(options: Parameters<typeof buildStep>[0] = {}): Promise<TrainingStep> {
  const step = await buildStep(options);
  built.push(step);
  return step;
}

function layersMlp(): Sequential {
  return tf.sequential({
    layers: [
      tf.layers.dense({ name: 'hidden', units: 5, activation: 'relu', inputShape: [6] }),
      tf.layers.dense({ name: 'output', units: 3, activation: 'softmax' }),
    ],
  });
}

function noisyModel(): Sequential {
  return tf.sequential({
    layers: [
      tf.layers.dense({ units: 16, activation: 'relu', inputShape: [6] }),
      tf.layers.dropout({ rate: 0.5 }),
      tf.layers.gaussianNoise({ stddev: 0.1 }),
      tf.layers.dense({ units: 3, activation: 'softmax' }),
    ],
  });
}

function normalizedModel(): Sequential {
  return tf.sequential({
    layers: [
      tf.layers.dense({ name: 'hidden', units: 5, inputShape: [6], kernelRegularizer: 'l1l2' }),
      tf.layers.batchNormalization({ name: 'norm' }),
      tf.layers.dense({ name: 'output', units: 3, activation: 'softmax' }),
    ],
  });
}

/** The values after one step of tfjs's own training with SGD. */
async function trainWithTfjs(model: LayersModel, initial: readonly Float32Array[], learningRate: number) {
  const { x, y } = classBatch();
  const optimizer = tf.train.sgd(learningRate);
  model.compile({ optimizer, loss: 'sparseCategoricalCrossentropy' });
  tf.tidy(() =>
    model.setWeights(model.weights.map((weight, index) => tf.tensor(given(initial[index]), weight.shape as number[]))),
  );
  const inputs = tf.tensor(x.data, [...x.shape]);
  const labels = tf.tensor(y.data, [8, 1], 'float32');
  const loss = await model.trainOnBatch(inputs, labels);
  const after = readAll(model.weights.map((weight) => weight.read()));
  tf.dispose([inputs, labels]);
  optimizer.dispose();
  model.dispose();
  return { loss: Number(loss), after };
}

describe('TrainingStep.build', () => {
  it('names trainable parameters first, then state, each in the order of the model', async () => {
    const step = await build({ model: normalizedModel });
    expect(step.parameters.map(({ name }) => name)).toEqual([
      'hidden/kernel',
      'hidden/bias',
      'norm/gamma',
      'norm/beta',
      'output/kernel',
      'output/bias',
      'norm/moving_mean',
      'norm/moving_variance',
    ]);
    expect(step.parameters.map(({ trainable }) => trainable)).toEqual([
      true,
      true,
      true,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(step.parameters[0]?.shape).toEqual([6, 5]);
  });

  it('gives unnamed layers the same names in the first and in a later model of the process', async () => {
    const unnamed = () =>
      tf.sequential({ layers: [tf.layers.dense({ units: 3, inputShape: [6] }), tf.layers.dense({ units: 3 })] });
    const [first, second] = [await build({ model: unnamed }), await build({ model: unnamed })];
    expect(first.parameters.map(({ name }) => name)).toEqual([
      'dense_Dense1/kernel',
      'dense_Dense1/bias',
      'dense_Dense2/kernel',
      'dense_Dense2/bias',
    ]);
    expect(second.parameters).toEqual(first.parameters);
  });

  it('makes the same initial values from the same seed, and others from another', async () => {
    const initialValues = async (seed: number) => (await build({ model: layersMlp, seed })).initialValues();
    const first = await initialValues(1);
    expect(await initialValues(1)).toEqual(first);
    expect(maxDifference(await initialValues(2), first)).toBeGreaterThan(0.1);
  });

  it('seeds what a model function does after it has waited', async () => {
    const model = async () => {
      await new Promise(setImmediate);
      return layersMlp();
    };
    const [first, second] = [await build({ model }), await build({ model })];
    expect(second.initialValues()).toEqual(first.initialValues());
  });

  it('leaves the initial values as the model made them, though it has tried a step', async () => {
    const step = await build({ model: normalizedModel });
    expect(step.initialValues().slice(-2)).toEqual([new Float32Array(5), new Float32Array(5).fill(1)]);
  });

  it('tells state that steps assign from weights of frozen layers', async () => {
    const model = () => {
      const frozen = normalizedModel();
      given(frozen.layers[0]).trainable = false;
      return frozen;
    };
    const step = await build({ model });
    const state = step.parameters.filter(({ trainable }) => !trainable).map(({ name }) => name);
    expect(state).toEqual(['hidden/kernel', 'hidden/bias', 'norm/moving_mean', 'norm/moving_variance']);
    expect(step.parameters.flatMap(({ name, frozen }) => (frozen === true ? [name] : []))).toEqual([
      'hidden/kernel',
      'hidden/bias',
    ]);
  });

  it('knows how many classes the labels may name', async () => {
    expect((await build()).numClasses).toBe(3);
    expect((await build({ loss: (_, yPred) => tf.mean(yPred) })).numClasses).toBeUndefined();
  });

  it('refuses labels that the model has no class for', async () => {
    const sample = { ...classBatch(3), y: { data: Int32Array.of(0, 1, 3), shape: [3] } };
    await expect(build({ sample })).rejects.toMatchObject({
      code: 'ERR_LABEL_OUT_OF_RANGE',
      details: { label: 3, numClasses: 3, rowInBatch: 2 },
    });
  });

  it('refuses inputs that do not fit the model, with both shapes', async () => {
    const sample = { ...classBatch(2), x: { data: spread(10), shape: [2, 5] } };
    await expect(build({ model: layersMlp, sample })).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/have the shape \[2, 5\], and the model takes \[rows, 6\]/) as string,
    });
  });

  it('refuses labels that the loss cannot compare with the output, with both shapes', async () => {
    await expect(build({ sample: regressionBatch(), loss: 'meanSquaredError' })).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/have the shape \[8, 2\], and the loss .* wants \[8, 3\]/) as string,
    });
  });

  it('refuses a model whose loss depends on none of its parameters', async () => {
    const loss = (yTrue: Tensor) => tf.mean(yTrue.cast('float32'));
    await expect(build({ loss })).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/on the first batch: Cannot find a connection/) as string,
    });
  });

  it('leaves no tensor behind when it fails', async () => {
    const numTensors = tf.memory().numTensors;
    await expect(build({ model: noisyModel, loss: 'meanSquaredError' })).rejects.toThrow();
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});

describe('TrainingStep.gradient', () => {
  it('is the gradient that tfjs trains with, and the state is what tfjs assigns', async () => {
    const step = await build({ model: normalizedModel });
    const initial = step.initialValues();
    const { loss, gradients, state } = runSlot(step, classBatch());
    const learningRate = 0.5;
    const expected = await trainWithTfjs(normalizedModel(), initial, learningRate);

    const stepped = gradients.map((gradient, index) =>
      initial[index]?.map((value, at) => value - learningRate * (gradient[at] ?? NaN)),
    );
    expect(maxDifference(stepped.map(given), expected.after.slice(0, 6))).toBeLessThan(1e-6);
    expect(state).toEqual(expected.after.slice(6));
    expect(state).not.toEqual(initial.slice(6));
    expect(loss).toBeCloseTo(expected.loss, 6);
  });

  it('has the same bits for a LayersModel and for the same network without layers', async () => {
    const [layered, functional] = [await build({ model: layersMlp }), await build()];
    const weights = functional.initialValues();
    layered.bindWeights(weights);
    const [fromLayers, fromFunction] = [layered, functional].map((step) => runSlot(step, classBatch()));
    expect(fromLayers).toEqual(fromFunction);
    expect(fromFunction?.gradients.map((gradient) => gradient.some((value) => value !== 0))).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  it('reads bound weights anew each time, from shared memory, and never writes them', async () => {
    const step = await build({ model: normalizedModel });
    const shared = sharedCopies(step.initialValues());
    step.bindWeights(shared);
    const before = shared.map((view) => view.slice());
    const first = runSlot(step, classBatch());
    expect(shared.map((view) => view.slice())).toEqual(before);

    shared[0]?.fill(0.25);
    expect(runSlot(step, classBatch()).loss).not.toBe(first.loss);
    shared[0]?.set(given(before[0]));
    expect(runSlot(step, classBatch())).toEqual(first);
  });

  it('writes into outputs on shared memory', async () => {
    const step = await build();
    const gradients = sharedCopies(step.initialValues());
    step.gradient(classBatch(), firstKey, { gradients, state: [] });
    expect(gradients.map((view) => view.slice())).toEqual(runSlot(step, classBatch()).gradients);
  });

  it('is a function of batch, weights and key, whatever ran before', async () => {
    const step = await build({ model: noisyModel });
    const first = runSlot(step, classBatch());
    runSlot(step, classBatch(5, 3), { ...firstKey, step: 9 });
    step.evaluate(classBatch());
    expect(runSlot(step, classBatch())).toEqual(first);
    expect(runSlot(await build({ model: noisyModel }), classBatch())).toEqual(first);
  });

  it.each([
    { ...firstKey, seed: 8 },
    { ...firstKey, step: 1 },
    { ...firstKey, slot: 1 },
  ])('draws other dropout and noise for the key %o', async (key) => {
    const step = await build({ model: noisyModel });
    expect(runSlot(step, classBatch(), key).loss).not.toBe(runSlot(step, classBatch()).loss);
  });

  it('is the mean over the rows: half batches average to the whole', async () => {
    const step = await build();
    const whole = classBatch(8);
    const half = (from: number) => ({
      x: { data: whole.x.data.slice(from * 6, (from + 4) * 6), shape: [4, 6] },
      y: { data: whole.y.data.slice(from, from + 4), shape: [4] },
    });
    const [a, b] = [runSlot(step, half(0)), runSlot(step, half(4))];
    const mean = a.gradients.map((values, index) =>
      values.map((value, at) => (value + (b.gradients[index]?.[at] ?? NaN)) / 2),
    );
    expect(maxDifference(mean, runSlot(step, whole).gradients)).toBeLessThan(1e-6);
  });

  it('is zero for a parameter that the loss does not depend on', async () => {
    const model = () => {
      const mlp = functionalMlp();
      return { ...mlp, parameters: { ...mlp.parameters, unused: tf.ones([2]) } };
    };
    const { gradients } = runSlot(await build({ model }), classBatch());
    expect(gradients.at(-1)).toEqual(new Float32Array(2));
  });

  it('adds what regularizers cost to the loss in training, and not in evaluation', async () => {
    const step = await build({ model: normalizedModel });
    const initial = step.initialValues();
    const kernel = given(initial[0]);
    const withoutPenalty = runSlot(await build({ model: normalizedModel }), classBatch());
    // tfjs's l1l2 has 0.01 for both.
    const penalty = kernel.reduce((sum, value) => sum + 0.01 * Math.abs(value) + 0.01 * value ** 2, 0);
    const plain = () => {
      const model = normalizedModel();
      vi.spyOn(model, 'calculateLosses').mockReturnValue([]);
      return model;
    };
    expect(withoutPenalty.loss - runSlot(await build({ model: plain }), classBatch()).loss).toBeCloseTo(penalty, 5);
    expect(step.evaluate(classBatch())).toEqual((await build({ model: plain })).evaluate(classBatch()));
  });

  it('takes batches of other sizes than the sample', async () => {
    const step = await build({ model: layersMlp });
    expect(Number.isFinite(runSlot(step, classBatch(3)).loss)).toBe(true);
  });

  it('refuses a label out of range, and works on afterwards', async () => {
    const step = await build();
    const first = runSlot(step, classBatch());
    const wrong = { ...classBatch(2), y: { data: Int32Array.of(0, -1), shape: [2] } };
    const numTensors = step.numTensors;
    expect(() => runSlot(step, wrong)).toThrow(expect.objectContaining({ code: 'ERR_LABEL_OUT_OF_RANGE' }));
    expect(() => step.evaluate(wrong)).toThrow(expect.objectContaining({ code: 'ERR_LABEL_OUT_OF_RANGE' }));
    expect(step.numTensors).toBe(numTensors);
    expect(runSlot(step, classBatch())).toEqual(first);
  });

  it('returns metrics in the order of their names', async () => {
    const step = await build({ metrics: ['accuracy', (_, yPred) => tf.max(yPred, -1)] });
    const { metrics } = runSlot(step, classBatch());
    expect(step.metricNames).toEqual(['accuracy', 'metric2']);
    const outputs = functionalOutput(step);
    const rows = Array.from({ length: 8 }, (_, row) => [...outputs.slice(row * 3, row * 3 + 3)]);
    const right = rows.filter((row, index) => row.indexOf(Math.max(...row)) === index % 3).length;
    expect(metrics[0]).toBeCloseTo(right / 8, 6);
    expect(metrics[1]).toBeCloseTo(rows.reduce((sum, row) => sum + Math.max(...row), 0) / 8, 6);
  });

  it('keeps no tensors over 2,000 steps', async () => {
    const step = await build({ model: noisyModel, metrics: ['accuracy'] });
    const batch = classBatch(2);
    const outputs = runSlot(step, batch);
    const numTensors = step.numTensors;
    for (let number = 0; number < 2_000; number++) step.gradient(batch, { ...firstKey, step: number }, outputs);
    step.evaluate(batch);
    expect(step.numTensors).toBe(numTensors);
  });
});

/** The output for the class batch, computed aside. */
function functionalOutput(step: TrainingStep): Float32Array {
  const [kernel1, bias1, kernel2, bias2] = step.initialValues();
  return tf.tidy(() => {
    const x = tf.tensor2d(classBatch().x.data, [8, 6]);
    const hidden = x
      .matMul(tf.tensor2d(given(kernel1), [6, 5]))
      .add(given(bias1))
      .relu();
    const output = hidden
      .matMul(tf.tensor2d(given(kernel2), [5, 3]))
      .add(given(bias2))
      .softmax();
    return output.dataSync<'float32'>();
  });
}

describe('TrainingStep.evaluate', () => {
  it('runs the model in inference mode, with the bound state', async () => {
    const step = await build({ model: normalizedModel, metrics: ['accuracy'] });
    const values = step.initialValues();
    values[6]?.fill(0.5);
    values[7]?.fill(2);
    step.bindWeights(values);
    const found = step.evaluate(classBatch());

    const model = normalizedModel();
    const { x, y } = classBatch();
    const [loss, accuracy] = tf.tidy(() => {
      model.compile({ optimizer: 'sgd', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
      model.setWeights(values.map((array, index) => tf.tensor(array, given(step.parameters[index]).shape as number[])));
      const scalars = [model.evaluate(tf.tensor(x.data, [8, 6]), tf.tensor(y.data, [8, 1], 'float32'))].flat();
      return scalars.map((scalar) => given(scalar.dataSync()[0]));
    });
    model.dispose();
    expect(found.loss).toBeCloseTo(given(loss), 6);
    expect(found.metrics[0]).toBeCloseTo(given(accuracy), 6);
  });

  it('gives the same for the same batch, though the model draws random numbers in inference', async () => {
    const model = () => {
      const mlp = functionalMlp();
      const noisy: FunctionalModel['forward'] = (parameters, x, context) =>
        tf.add(mlp.forward(parameters, x, context), tf.randomUniform([8, 3]));
      return { ...mlp, forward: noisy };
    };
    const step = await build({ model });
    expect(step.evaluate(classBatch())).toEqual(step.evaluate(classBatch()));
  });
});

describe('TrainingStep.bindWeights', () => {
  it('refuses views of other sizes', async () => {
    const step = await build();
    expect(() => step.bindWeights([new Float32Array(30)])).toThrow(
      '30 values were bound to parameters of 30, 5, 15, 3',
    );
  });

  it('ends the time of initial values', async () => {
    const step = await build();
    step.bindWeights(step.initialValues());
    expect(() => step.initialValues()).toThrow('after the weights were bound');
  });
});

describe('a layer with a seed of its own', () => {
  it('draws the same in every step, and the log says so', async () => {
    const warn = vi.fn();
    const model = () =>
      tf.sequential({
        layers: [
          tf.layers.dropout({ name: 'drop', rate: 0.5, seed: 3, inputShape: [6] }),
          tf.layers.dense({ units: 3, activation: 'softmax' }),
        ],
      });
    const step = await build({ model, log: { ...silentLog, warn } });
    const [first, second] = [0, 1].map((number) => runSlot(step, classBatch(), { ...firstKey, step: number }));
    expect(second).toEqual(first);
    expect(warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('same random numbers in every step: drop'), {
      layers: ['drop'],
    });
  });
});

describe('tfjs', () => {
  it('draws all randomness of a model from Math.random, so that the key reaches it', () => {
    const sample = () =>
      tf.tidy(() =>
        readAll([
          tf.randomNormal([4]),
          tf.truncatedNormal([4]),
          tf.randomUniform([4]),
          tf.randomGamma([4], 2),
          tf.dropout(tf.ones([64]), 0.5),
          tf.initializers.orthogonal({ gain: 1 }).apply([3, 3]),
          tf.initializers.heNormal({}).apply([3, 3]),
        ]),
      );
    const [first, second] = [1, 1].map((seed) => withSeededRandom({ purpose: 'model', seed }, sample));
    expect(second).toEqual(first);
    expect(withSeededRandom({ purpose: 'model', seed: 2 }, sample)).not.toEqual(first);
  });
});
