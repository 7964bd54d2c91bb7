import type { layers, LayersModel, SymbolicTensor, Tensor } from '@tensorflow/tfjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Batch } from '../../../src/job/dataset.js';
import type { TrainingStep } from '../../../worker/compute/step.js';
import { build as buildStep, classBatch, firstKey, given, runSlot, silentLog, spread, tf } from './toy.js';

const built: TrainingStep[] = [];
afterEach(() => built.splice(0).forEach((step) => step.dispose()));

async function build(model: () => LayersModel, options: Parameters<typeof buildStep>[0] = {}): Promise<TrainingStep> {
  const step = await buildStep({ model, ...options });
  built.push(step);
  return step;
}

function sequential(...stack: layers.Layer[]): LayersModel {
  return tf.sequential({ layers: stack });
}

function softmax(units = 3): layers.Layer {
  return tf.layers.dense({ name: 'output', units, activation: 'softmax' });
}

const numSteps = 4;

/** [rows, 4 steps, 2] inputs, 3 classes. */
function sequenceBatch(rows = 6): Batch {
  return { x: { data: spread(rows * numSteps * 2), shape: [rows, numSteps, 2] }, y: classBatch(rows).y };
}

/** [rows, 4] tokens from 0 to 4, 3 classes; 0 is padding. */
function tokenBatch(rows = 6, type: 'int32' | 'float32' = 'int32'): Batch {
  const tokens = Array.from({ length: rows * numSteps }, (_, index) => (index * 7) % 5);
  const data = type === 'int32' ? Int32Array.from(tokens) : Float32Array.from(tokens);
  return { x: { data, shape: [rows, numSteps] }, y: classBatch(rows).y };
}

function symbolic(output: ReturnType<layers.Layer['apply']>): SymbolicTensor {
  return output as SymbolicTensor; // Symbolic in, symbolic out.
}

describe('parameters of a LayersModel', () => {
  it('are counted once where a layer is shared', async () => {
    const model = () => {
      const input = tf.input({ shape: [6] });
      const shared = tf.layers.dense({ name: 'shared', units: 6 });
      const twice = symbolic(shared.apply(shared.apply(input)));
      return tf.model({ inputs: input, outputs: symbolic(softmax().apply(twice)) });
    };
    const step = await build(model);
    const names = ['shared/kernel', 'shared/bias', 'output/kernel', 'output/bias'];
    expect(step.parameters.map(({ name }) => name)).toEqual(names);
  });

  it('include those of models inside models', async () => {
    const model = () => {
      const inner = tf.sequential({ layers: [tf.layers.dense({ name: 'dense', units: 4, inputShape: [6] })] });
      const input = tf.input({ shape: [6] });
      const twoOfThem = tf.layers
        .concatenate()
        .apply([
          symbolic(inner.apply(input)),
          symbolic(
            tf.sequential({ layers: [tf.layers.dense({ name: 'dense', units: 4, inputShape: [6] })] }).apply(input),
          ),
        ]);
      return tf.model({ inputs: input, outputs: symbolic(softmax().apply(twoOfThem)) });
    };
    const [first, second] = [await build(model), await build(model)];
    const names = ['dense/kernel', 'dense/bias', 'dense/kernel_1', 'dense/bias_1', 'output/kernel', 'output/bias'];
    expect(first.parameters.map(({ name }) => name)).toEqual(names);
    expect(second.parameters).toEqual(first.parameters);
    expect(runSlot(second, classBatch())).toEqual(runSlot(first, classBatch()));
  });

  it('of a model that is frozen whole leave nothing to train', async () => {
    const model = () => {
      const frozen = sequential(tf.layers.dense({ units: 3, inputShape: [6] }));
      for (const layer of frozen.layers) layer.trainable = false;
      return frozen;
    };
    await expect(build(model)).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/no trainable weights/) as string,
    });
  });

  it('of frozen layers come last, keep their values, and are no state of a step', async () => {
    const model = () =>
      sequential(tf.layers.dense({ name: 'base', units: 4, inputShape: [6], trainable: false }), softmax());
    const step = await build(model);
    expect(step.parameters.map(({ name, trainable, frozen }) => [name, trainable, frozen])).toEqual([
      ['output/kernel', true, undefined],
      ['output/bias', true, undefined],
      ['base/kernel', false, true],
      ['base/bias', false, true],
    ]);
    const untouched = [Float32Array.of(7), Float32Array.of(7)];
    step.gradient(classBatch(), { seed: 0, step: 0, slot: 0 }, { gradients: [], state: untouched });
    expect(untouched).toEqual([Float32Array.of(7), Float32Array.of(7)]);
  });
});

describe('a LayersModel is refused', () => {
  it('where it is stateful, also inside a wrapper', async () => {
    const recurrent = tf.layers.simpleRNN({ units: 2, stateful: true });
    const model = () =>
      sequential(
        tf.layers.timeDistributed({ layer: recurrent, batchInputShape: [6, 1, numSteps, 2] }),
        tf.layers.flatten(),
        softmax(),
      );
    const { x, y } = sequenceBatch();
    const sample = { x: { data: x.data, shape: [6, 1, numSteps, 2] }, y };
    await expect(build(model, { sample })).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/is stateful/) as string,
    });
    // tfjs keeps the states of a disposed layer, and types them as protected.
    tf.dispose(Reflect.get(recurrent, 'states_') as Tensor[]);
  });

  it('where a layer counts its seed up', async () => {
    const model = () => {
      const inputs = tf.input({ shape: [4, 4, 1] });
      const wide = tf.layers.randomWidth({ name: 'wide', factor: 0.2, seed: 4 });
      return tf.model({ inputs, outputs: symbolic(wide.apply(inputs)) });
    };
    const sample = { x: { data: spread(96), shape: [6, 4, 4, 1] }, y: classBatch(6).y };
    await expect(build(model, { sample })).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/"wide" counts/) as string,
    });
  });

  it('where it has several inputs', async () => {
    const model = () => {
      const inputs = [tf.input({ shape: [6] }), tf.input({ shape: [6] })];
      return tf.model({ inputs, outputs: symbolic(softmax().apply(symbolic(tf.layers.add().apply(inputs)))) });
    };
    await expect(build(model)).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/2 inputs and 1 outputs/) as string,
    });
  });

  it('where its function fails, with the cause', async () => {
    const model = () => sequential(tf.layers.dense({ units: 3 }));
    const error: unknown = await build(model).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ERR_MODEL_INVALID', cause: expect.any(Error) as Error });
    expect(error).toHaveProperty('message', expect.stringMatching(/model function failed: .*inputShape/));
  });

  it('where it is something else', async () => {
    const model = () => ({ weights: [] }) as unknown as LayersModel;
    await expect(build(model)).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringMatching(/class Object with weights/) as string,
    });
  });
});

describe('a recurrent model', () => {
  const models: [string, () => LayersModel][] = [
    [
      'lstm',
      () =>
        sequential(
          tf.layers.lstm({ units: 3, dropout: 0.5, recurrentDropout: 0.5, inputShape: [numSteps, 2] }),
          softmax(),
        ),
    ],
    [
      'stacked cells',
      () =>
        sequential(
          tf.layers.rnn({
            cell: [tf.layers.gruCell({ units: 3, dropout: 0.5 }), tf.layers.lstmCell({ units: 3, dropout: 0.5 })],
            inputShape: [numSteps, 2],
          }),
          softmax(),
        ),
    ],
    [
      'bidirectional',
      () =>
        sequential(
          tf.layers.bidirectional({
            layer: tf.layers.gru({ units: 3, dropout: 0.5 }),
            mergeMode: 'concat',
            inputShape: [numSteps, 2],
          }),
          softmax(),
        ),
    ],
  ];

  it.each(models)('with dropout (%s) draws new masks for each key, whatever ran before', async (_, model) => {
    const step = await build(model, { sample: sequenceBatch() });
    const first = runSlot(step, sequenceBatch());
    expect(runSlot(step, sequenceBatch(), { ...firstKey, step: 1 }).loss).not.toBe(first.loss);
    step.evaluate(sequenceBatch(2));
    expect(runSlot(step, sequenceBatch())).toEqual(first);
  });

  it.each(models)('with dropout (%s) keeps no tensors', async (_, model) => {
    const step = await build(model, { sample: sequenceBatch() });
    const numTensors = step.numTensors;
    runSlot(step, sequenceBatch());
    step.evaluate(sequenceBatch(2));
    expect(step.numTensors).toBe(numTensors);
  });

  it('of tokens gives the same for integers and for floats, and is what tfjs computes with its masks', async () => {
    const model = () =>
      sequential(
        tf.layers.embedding({ inputDim: 5, outputDim: 4, maskZero: true, inputLength: numSteps }),
        tf.layers.lstm({ units: 3 }),
        softmax(),
      );
    const step = await build(model, { sample: tokenBatch() });
    const found = runSlot(step, tokenBatch());
    expect(runSlot(step, tokenBatch(6, 'float32'))).toEqual(found);

    const reference = model();
    reference.compile({ optimizer: 'sgd', loss: 'sparseCategoricalCrossentropy' });
    const loss = tf.tidy(() => {
      reference.setWeights(
        step.initialValues().map((values, index) => tf.tensor(values, given(step.parameters[index]).shape as number[])),
      );
      const { x, y } = tokenBatch();
      const scalar = reference.evaluate(tf.tensor(x.data, [6, numSteps]), tf.tensor(y.data, [6, 1], 'float32'), {
        batchSize: 6,
      });
      return given([scalar].flat()[0]?.dataSync()[0]);
    });
    reference.dispose();
    expect(found.loss).toBeCloseTo(loss, 6);
  });
});

describe('a model with constraints', () => {
  it('is trained without them, and the log says so', async () => {
    const warn = vi.fn();
    const model = () =>
      sequential(tf.layers.dense({ name: 'bound', units: 3, kernelConstraint: 'nonNeg', inputShape: [6] }));
    await build(model, { log: { ...silentLog, warn } });
    expect(warn).toHaveBeenCalledExactlyOnceWith('Constraints on weights are not applied in training: bound/kernel.', {
      parameters: ['bound/kernel'],
    });
  });
});
