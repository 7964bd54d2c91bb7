/**
 * Every layer of tfjs-layers and every loss, compiled and compared with the eager step bit by bit. `compile` itself
 * compares; here it has to find a graph, and the graph is run on weights, rows and keys that it was not made with.
 */
import type { layers, SymbolicTensor, Tensor } from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Batch } from '../../src/job/dataset.js';
import type { FunctionalModel, Job, Model } from '../../src/job/job.js';
import type { Log } from '../../src/log.js';
import { sizeOf } from '../../src/state/parameter.js';
import { CompiledStep } from '../../worker/compute/compiled/compiled-step.js';
import { findCurrent } from '../../worker/compute/engine/cache.js';
import { loadEngine, type Engine } from '../../worker/compute/engine/load.js';
import { requireTfjs } from '../../worker/compute/engine/tfjs.js';
import type { NodeBinding } from '../../worker/compute/node-backend.js';
import { lossNames, metricNames } from '../../worker/compute/objective.js';
import { TrainingStep, type SlotOutputs, type SlotStep } from '../../worker/compute/step.js';
import { runSlot, sharedCopies, spread } from '../unit/compute/toy.js';

const tf = requireTfjs();
const rows = 6;
const key = { seed: 7, step: 0, slot: 0 };

const warnings: string[] = [];
const log: Log = { debug: ignore, info: ignore, warn: (message) => warnings.push(message), error: ignore };
function ignore(): void {
  // Only warnings are looked at.
}

type Layer = layers.Layer;
const L = tf.layers;

/** Layers on [rows, …shape] inputs; a dense layer of two outputs is put on top where they leave more than a matrix. */
interface Case {
  readonly shape: readonly number[];
  readonly make: () => Layer[];
  /** Inputs are token ids. */
  readonly ids?: boolean;
  /** tfjs has no gradient for the layer's inputs: nothing to be trained may come before it. */
  readonly first?: boolean;
}

const image = [6, 6, 2] as const;
const series = [5, 3] as const;
const volume = [4, 4, 4, 2] as const;
const on = (shape: readonly number[], ...makers: (() => Layer)[]): Case => ({
  shape,
  make: () => makers.map((make) => make()),
});

const layerCases: Readonly<Record<string, Case>> = {
  dense: on([4], () => L.dense({ units: 3 })),
  'dense with regularizers': on([4], () =>
    L.dense({ units: 3, kernelRegularizer: 'l1l2', biasRegularizer: tf.regularizers.l2({ l2: 0.1 }) }),
  ),
  ...Object.fromEntries(
    [
      'elu',
      'hardSigmoid',
      'linear',
      'relu',
      'relu6',
      'selu',
      'sigmoid',
      'softmax',
      'softplus',
      'softsign',
      'swish',
      'tanh',
      'mish',
      'gelu',
      'gelu_new',
    ].map((activation) => [
      `activation ${activation}`,
      on(
        [4],
        () => L.dense({ units: 3 }),
        () => L.activation({ activation: activation as 'relu' }),
      ),
    ]),
  ),
  'elu layer': on([4], () => L.elu()),
  'leakyReLU layer': on([4], () => L.leakyReLU({ alpha: 0.2 })),
  'prelu layer': on([4], () => L.prelu({ alphaInitializer: 'ones' })),
  'relu layer': on([4], () => L.reLU({ maxValue: 0.5 })),
  'softmax layer': on([4], () => L.softmax()),
  'thresholdedReLU layer': { ...on([4], () => L.thresholdedReLU({ theta: 0.1 })), first: true },
  conv1d: on(series, () => L.conv1d({ filters: 4, kernelSize: 3, padding: 'same', activation: 'relu' })),
  conv2d: on(image, () => L.conv2d({ filters: 4, kernelSize: 3, strides: 2, activation: 'relu' })),
  conv2dTranspose: on(image, () => L.conv2dTranspose({ filters: 3, kernelSize: 3, strides: 2 })),
  conv3d: on(volume, () => L.conv3d({ filters: 3, kernelSize: 2 })),
  depthwiseConv2d: on(image, () => L.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2 })),
  separableConv2d: on(image, () => L.separableConv2d({ filters: 4, kernelSize: 3 })),
  cropping2D: on(image, () =>
    L.cropping2D({
      cropping: [
        [1, 0],
        [0, 1],
      ],
    }),
  ),
  upSampling2d: on(image, () => L.upSampling2d({ size: [2, 2] })),
  zeroPadding2d: on(image, () => L.zeroPadding2d({ padding: 1 })),
  averagePooling1d: on(series, () => L.averagePooling1d({ poolSize: 2 })),
  averagePooling2d: on(image, () => L.averagePooling2d({ poolSize: 2 })),
  averagePooling3d: on(volume, () => L.averagePooling3d({ poolSize: 2 })),
  globalAveragePooling1d: on(series, () => L.globalAveragePooling1d({})),
  globalAveragePooling2d: on(image, () => L.globalAveragePooling2d({})),
  globalMaxPooling1d: on(series, () => L.globalMaxPooling1d({})),
  globalMaxPooling2d: on(image, () => L.globalMaxPooling2d({})),
  maxPooling1d: on(series, () => L.maxPooling1d({ poolSize: 2 })),
  maxPooling2d: on(image, () => L.maxPooling2d({ poolSize: 2 })),
  maxPooling3d: on(volume, () => L.maxPooling3d({ poolSize: 2 })),
  batchNormalization: on(
    [4],
    () => L.dense({ units: 3 }),
    () => L.batchNormalization(),
  ),
  'batchNormalization of images': on(
    image,
    () => L.conv2d({ filters: 3, kernelSize: 2 }),
    () => L.batchNormalization(),
  ),
  layerNormalization: on(series, () => L.layerNormalization()),
  embedding: { shape: [5], make: () => [L.embedding({ inputDim: 9, outputDim: 4 })], ids: true },
  'embedding with a mask, into lstm': {
    shape: [5],
    make: () => [L.embedding({ inputDim: 9, outputDim: 4, maskZero: true }), L.lstm({ units: 3 })],
    ids: true,
  },
  masking: {
    ...on(
      series,
      () => L.masking({ maskValue: 0 }),
      () => L.gru({ units: 3 }),
    ),
    first: true,
  },
  simpleRNN: on(series, () => L.simpleRNN({ units: 3 })),
  'simpleRNN with dropout': on(series, () => L.simpleRNN({ units: 3, dropout: 0.3, recurrentDropout: 0.3 })),
  lstm: on(series, () => L.lstm({ units: 3, returnSequences: true })),
  'lstm with dropout': on(series, () => L.lstm({ units: 3, dropout: 0.3, recurrentDropout: 0.3 })),
  'lstm, backwards': on(series, () => L.lstm({ units: 3, goBackwards: true })),
  gru: on(series, () => L.gru({ units: 3, returnSequences: true })),
  'gru with dropout': on(series, () => L.gru({ units: 3, dropout: 0.3, recurrentDropout: 0.3 })),
  'rnn of stacked cells': on(series, () =>
    L.rnn({ cell: L.stackedRNNCells({ cells: [L.lstmCell({ units: 3 }), L.gruCell({ units: 2 })] }) }),
  ),
  convLstm2d: on([3, 5, 5, 2], () => L.convLstm2d({ filters: 2, kernelSize: 2 })),
  bidirectional: on(series, () => L.bidirectional({ layer: L.lstm({ units: 3 }), mergeMode: 'concat' })),
  timeDistributed: on(series, () => L.timeDistributed({ layer: L.dense({ units: 2 }) })),
  dropout: on([8], () => L.dropout({ rate: 0.4 })),
  'dropout with noiseShape': on(series, () => L.dropout({ rate: 0.4, noiseShape: [rows, 1, 3] })),
  'dropout with its own seed': on([8], () => L.dropout({ rate: 0.4, seed: 3 })),
  spatialDropout1d: on(series, () => L.spatialDropout1d({ rate: 0.4 })),
  alphaDropout: on([8], () => L.alphaDropout({ rate: 0.4 })),
  gaussianDropout: on([8], () => L.gaussianDropout({ rate: 0.4 })),
  gaussianNoise: on([8], () => L.gaussianNoise({ stddev: 0.4 })),
  flatten: on(image, () => L.flatten()),
  permute: on(series, () => L.permute({ dims: [2, 1] })),
  repeatVector: on([4], () => L.repeatVector({ n: 3 })),
  reshape: on(series, () => L.reshape({ targetShape: [3, 5] })),
  rescaling: on(image, () => L.rescaling({ scale: 1 / 255, offset: 0.1 })),
};

function sequential({ shape, make, ids = false, first: isFirst = false }: Case): () => Model {
  return () => {
    const model = tf.sequential();
    const [first, ...others] = make();
    // Parameters before the layer too, so that its gradient of the inputs is part of the test.
    model.add(L.inputLayer({ inputShape: [...shape] }));
    if (!ids && !isFirst) model.add(L.dense({ units: shape.at(-1) ?? 1 }));
    for (const layer of [first, ...others]) if (layer) model.add(layer);
    if (model.outputs[0]?.shape.length !== 2) model.add(L.flatten());
    model.add(L.dense({ units: 2 }));
    return model;
  };
}

const mergeLayers: Readonly<Record<string, () => Layer>> = {
  add: () => L.add(),
  average: () => L.average(),
  concatenate: () => L.concatenate(),
  dot: () => L.dot({ axes: 1 }),
  maximum: () => L.maximum(),
  minimum: () => L.minimum(),
  multiply: () => L.multiply(),
};

function merged(make: () => Layer): () => Model {
  return () => {
    const inputs = tf.input({ shape: [4] });
    const branches = [1, 2].map((units) => {
      const hidden = L.dense({ units: 3, activation: units === 1 ? 'tanh' : 'relu' });
      return hidden.apply(inputs) as SymbolicTensor; // Symbolic in, symbolic out.
    });
    const outputs = L.dense({ units: 2 }).apply(make().apply(branches)) as SymbolicTensor;
    return tf.model({ inputs, outputs });
  };
}

/** One head of causal attention with a residual and a layer norm, as small GPTs have it. */
function attention(): FunctionalModel {
  const [length, width] = [5, 4];
  const square = (offset: number) => tf.tensor2d(spread(width * width, offset), [width, width]);
  const mask = tf.keep(tf.tidy(() => tf.mul(tf.sub(1, tf.linalg.bandPart(tf.ones([length, length]), -1, 0)), -1e9)));
  masks.push(mask);
  return {
    parameters: {
      tokens: tf.tensor2d(spread(9 * width), [9, width]),
      q: square(1),
      k: square(2),
      v: square(3),
      out: tf.tensor2d(spread(40, 4), [20, 2]),
    },
    forward: ({ tokens, q, k, v, out }, x) => {
      if (!tokens || !q || !k || !v || !out) throw new Error('a parameter is missing');
      const embedded = tf.gather(tokens, x.toInt());
      const project = (weights: Tensor) =>
        tf.reshape(tf.matMul(tf.reshape(embedded, [-1, width]), weights), [-1, length, width]);
      const scores = tf.add(tf.div(tf.matMul(project(q), project(k), false, true), Math.sqrt(width)), mask);
      const attended = tf.add(embedded, tf.matMul(tf.softmax(scores), project(v)));
      const { mean, variance } = tf.moments(attended, -1, true);
      const normal = tf.div(tf.sub(attended, mean), tf.sqrt(tf.add(variance, 1e-5)));
      return tf.matMul(tf.reshape(normal, [-1, length * width]), out);
    },
  };
}
const masks: Tensor[] = [];

function batchOf(shape: readonly number[], { ids = false, offset = 0 } = {}): Batch {
  const values = spread(rows * sizeOf(shape), offset);
  const data = ids ? Int32Array.from(values, (value) => Math.floor((value + 1) * 4.5)) : values;
  return { x: { data, shape: [rows, ...shape] }, y: { data: spread(rows * 2, offset + 50), shape: [rows, 2] } };
}

// Without an engine (no compiler, or no network when it was set up) there are no graphs.
describe.skipIf(!findCurrent().found).each([
  { by: "Lockstep's addon", native: true },
  { by: "tfjs-node's addon", native: false },
])('a compiled step, run by $by', ({ native }) => {
  let engine: Engine;

  beforeAll(async () => {
    engine = await loadEngine({ threads: 1, device: 'cpu', log });
    expect(engine.native).toBeDefined();
  });
  afterAll(() => tf.dispose(masks.splice(0)));

  const compiledStep = (step: TrainingStep) =>
    new CompiledStep({ tf, step, log, addon: native ? engine.native?.addon : null });
  const numGraphs = () => binding().getNumOfSavedModels() + (engine.native?.addon.numGraphs() ?? 0);
  const alive = () => [tf.memory().numTensors, binding().getNumOfTensors(), numGraphs()];
  const binding = () => engine.binding as NodeBinding; // TensorFlow's engine has one.

  interface Comparison {
    readonly model: () => Model;
    readonly first: Batch;
    readonly second: Batch;
    readonly loss?: Job['loss'];
    readonly metrics?: Job['metrics'];
  }

  /** Compiles on one batch, and compares on another, with other weights and another key. */
  async function compare({ model, first, second, loss = 'meanSquaredError', metrics = [] }: Comparison): Promise<void> {
    warnings.length = 0;
    const job = { model, loss, metrics };
    const eager = await TrainingStep.build({ tf, job, seed: 7, log, sample: first });
    const step = compiledStep(eager);
    try {
      const compiled = step.prepare(first, key);
      expect(warnings.filter((warning) => warning.includes('not compiled'))).toEqual([]);
      expect(compiled).toBe(true);
      step.bindWeights(sharedCopies(step.initialValues().map((values) => values.map((value) => value * 1.25 + 0.01))));
      for (const [batch, itsKey] of [
        [first, key],
        [second, { seed: 7, step: 5, slot: 3 }],
      ] as const) {
        expect(bits(step, batch, itsKey)).toEqual(bits(eager, batch, itsKey));
      }
      const numBefore = numGraphs();
      const batches = [first, first, second]; // a graph is made for a shape that comes again
      expect(predictions(step, batches)).toEqual(predictions(eager, batches));
      expect(numGraphs() - numBefore).toBe(native ? 1 : 0);
    } finally {
      step.dispose();
    }
  }

  /** Of a forward pass in inference mode, which is compiled too where Lockstep's addon is there. */
  function predictions(step: SlotStep, batches: readonly Batch[]): readonly unknown[] {
    return step.predicting({ purpose: 'evaluation', seed: 7 }, (predict) =>
      batches.map(({ x }) => {
        const { data, shape } = predict(x);
        return [shape, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')];
      }),
    );
  }

  function bits(step: SlotStep, batch: Batch, itsKey: typeof key): readonly unknown[] {
    const { loss, metrics, gradients, state } = runSlot(step, batch, itsKey);
    return [Float32Array.of(loss, ...metrics), ...gradients, ...state].map(({ buffer }) =>
      Buffer.from(buffer).toString('hex'),
    );
  }

  /** What is recorded does not depend on who runs it: a few layers tell whether tfjs-node's addon does. */
  const cases = Object.entries(layerCases).filter((_, index) => native || index % 5 === 0);

  test.each(cases)('has the bits of the eager step: %s', async (_, layerCase) => {
    const { shape, ids = false } = layerCase;
    await compare({
      model: sequential(layerCase),
      first: batchOf(shape, { ids }),
      second: batchOf(shape, { ids, offset: 9 }),
    });
  });

  test.each(Object.entries(mergeLayers))('has the bits of the eager step: the merge layer %s', async (_, make) => {
    await compare({ model: merged(make), first: batchOf([4]), second: batchOf([4], { offset: 9 }) });
  });

  test('has the bits of the eager step: causal attention without layers', async () => {
    await compare({
      model: attention,
      first: batchOf([5], { ids: true }),
      second: batchOf([5], { ids: true, offset: 9 }),
    });
  });

  const probabilities = () =>
    tf.sequential({
      layers: [
        L.dense({ units: 4, inputShape: [4], activation: 'relu' }),
        L.dense({ units: 3, activation: 'softmax' }),
      ],
    });

  /** TensorFlow's own op takes exponentials in blocks, at whose ends the last bit is another one. */
  test('has the bits of the eager step: softmax over many rows of an odd length', async () => {
    const numRows = 248;
    const numClasses = 31;
    const random = (seed: number): Float32Array =>
      tf.tidy(() => tf.randomNormal([numRows * 4], 0, 3, 'float32', seed).dataSync<'float32'>());
    const batch = (seed: number): Batch => ({
      x: { data: random(seed), shape: [numRows, 4] },
      y: { data: Int32Array.from({ length: numRows }, (_, row) => (row * 7) % numClasses), shape: [numRows] },
    });
    const model = () =>
      tf.sequential({ layers: [L.dense({ units: numClasses, inputShape: [4], activation: 'softmax' })] });
    const loss = 'sparseCategoricalCrossentropy';
    const eager = await TrainingStep.build({ tf, job: { model, loss, metrics: [] }, seed: 7, log, sample: batch(0) });
    const step = compiledStep(eager);
    try {
      expect(step.prepare(batch(0), key)).toBe(true);
      for (let seed = 1; seed <= 40; seed++)
        expect(bits(step, batch(seed), key)).toEqual(bits(eager, batch(seed), key));
    } finally {
      step.dispose();
    }
  });

  test.each(lossNames)('has the bits of the eager step: the loss %s', async (loss) => {
    const labelled = (offset: number): Batch => {
      const classes = Array.from({ length: rows }, (_, row) => (row + offset) % 3);
      const oneHot = Float32Array.from(classes.flatMap((label) => [0, 1, 2].map((each) => (each === label ? 1 : 0))));
      const takesClasses = loss === 'sparseCategoricalCrossentropy';
      const y = takesClasses ? { data: Uint8Array.from(classes), shape: [rows] } : { data: oneHot, shape: [rows, 3] };
      return { x: batchOf([4], { offset }).x, y };
    };
    await compare({ model: probabilities, first: labelled(0), second: labelled(1), loss, metrics: ['accuracy'] });
  });

  test.each(metricNames.filter((name) => name !== 'sparseCategoricalCrossentropy'))(
    'has the bits of the eager step: the metric %s',
    async (metric) => {
      const oneHot = (offset: number): Batch => {
        const data = new Float32Array(rows * 3);
        for (let row = 0; row < rows; row++) data[row * 3 + ((row + offset) % 3)] = 1;
        return { x: batchOf([4], { offset }).x, y: { data, shape: [rows, 3] } };
      };
      const loss = 'categoricalCrossentropy';
      await compare({ model: probabilities, first: oneHot(0), second: oneHot(1), loss, metrics: [metric] });
    },
  );

  test('draws another mask at another step and slot, and the same at the same', async () => {
    const model = sequential(on([8], () => L.dropout({ rate: 0.5 })));
    const sample = batchOf([8]);
    const eager = await TrainingStep.build({
      tf,
      job: { model, loss: 'meanSquaredError', metrics: [] },
      seed: 7,
      log,
      sample,
    });
    const step = compiledStep(eager);
    step.prepare(sample, key);
    const lossAt = (at: Partial<typeof key>) => runSlot(step, sample, { ...key, ...at }).loss;
    const losses = [lossAt({}), lossAt({ step: 1 }), lossAt({ slot: 1 }), lossAt({ seed: 8 })];
    expect(new Set(losses).size).toBe(4);
    expect(lossAt({})).toBe(losses[0]);
    step.dispose();
  });

  test('compiles each batch shape, and bytes as well as floats', async () => {
    const model = sequential(on([4], () => L.dense({ units: 3 })));
    const sample = batchOf([4]);
    const eager = await TrainingStep.build({
      tf,
      job: { model, loss: 'meanSquaredError', metrics: [] },
      seed: 7,
      log,
      sample,
    });
    const step = compiledStep(eager);
    const smaller: Batch = {
      x: { data: Uint8Array.from({ length: 12 }, (_, i) => i), shape: [3, 4] },
      y: { data: spread(6), shape: [3, 2] },
    };
    expect([step.prepare(sample, key), step.prepare(smaller, key)]).toEqual([true, true]);
    expect(numGraphs()).toBe(2);
    expect(bits(step, smaller, key)).toEqual(bits(eager, smaller, key));
    step.dispose();
    expect(numGraphs()).toBe(0);
  });

  test('leaves nothing behind in a thousand steps', async () => {
    const model = sequential(on(series, () => L.lstm({ units: 2, dropout: 0.2 })));
    const sample = batchOf(series);
    const before = alive();
    const eager = await TrainingStep.build({
      tf,
      job: { model, loss: 'meanSquaredError', metrics: ['mae'] },
      seed: 7,
      log,
      sample,
    });
    const step = compiledStep(eager);
    step.prepare(sample, key);
    const arrays = step.parameters.map(({ shape }) => new Float32Array(sizeOf(shape)));
    const outputs: SlotOutputs = { gradients: arrays, state: [] };
    const ready = alive();
    for (let at = 0; at < 1_000; at++) step.gradient(sample, { ...key, step: at }, outputs);
    expect(alive()).toEqual(ready);
    step.dispose();
    expect(alive()).toEqual(before);
  });

  describe('runs eagerly and says why', () => {
    const dense = () => ({ weights: tf.tensor2d(spread(8), [4, 2]) });
    const functional = (forward: (x: Tensor) => Tensor) => (): FunctionalModel => ({
      parameters: dense(),
      forward: ({ weights }, x) => tf.matMul(forward(x), weights ?? x),
    });
    let numCalls = 0;
    const kept: Tensor[] = [];
    afterAll(() => tf.dispose(kept));

    test.each([
      [
        'a model that reads its batch',
        functional((x) => tf.mul(x, x.dataSync()[0] ?? 0)),
        /reads values of the batch or of the weights on the host/,
      ],
      [
        'a model that draws from Math.random',
        functional((x) => tf.mul(x, Math.random())),
        /draws random numbers on the host/,
      ],
      [
        'a model that draws from tf.randomGamma',
        functional((x) => tf.mul(x, tf.randomGamma([4], 1))),
        /draws random numbers on the host/,
      ],
      ['a model that counts its calls', functional((x) => tf.mul(x, ++numCalls)), /a constant of the op Mul differs/],
      [
        'a model that takes turns',
        functional((x) => (++numCalls % 2 ? tf.relu(x) : tf.tanh(x))),
        /the op (Relu|Tanh) in one pass is the op (Relu|Tanh) in the next/,
      ],
      [
        'a model with a stateful random op',
        functional((x) =>
          tf.add(
            x,
            tf
              .multinomial(tf.ones([4, 5]).as2D(4, 5), 1, 3)
              .toFloat()
              .mean(),
          ),
        ),
        /bits of the eager step/,
      ],
    ])('%s', async (_, model, reason) => {
      warnings.length = 0;
      const sample = batchOf([4]);
      const job = { model, loss: 'meanSquaredError', metrics: [] };
      const eager = await TrainingStep.build({ tf, job, seed: 7, log, sample });
      const step = compiledStep(eager);
      expect(step.prepare(sample, key)).toBe(false);
      for (let at = 0; at < 3; at++) runSlot(step, sample, key);
      expect(warnings).toEqual([expect.stringMatching(reason)]);
      step.dispose();
    });
  });

  test('says in the eager words what is wrong with a batch', async () => {
    const sample = batchOf([5], { ids: true });
    const model = sequential(layerCases.embedding ?? on([5]));
    const eager = await TrainingStep.build({
      tf,
      job: { model, loss: 'meanSquaredError', metrics: [] },
      seed: 7,
      log,
      sample,
    });
    const step = compiledStep(eager);
    step.prepare(sample, key);
    const outside: Batch = { ...sample, x: { data: new Int32Array(rows * 5).fill(99), shape: [rows, 5] } };
    expect(() => runSlot(step, outside, key)).toThrow(/the index value 99 is not in \[0, 8\]/);
    step.dispose();
  });

  test('does not change what the weights of the model are', async () => {
    const sample = batchOf([4]);
    const model = sequential(on([4], () => L.dense({ units: 3 })));
    const eager = await TrainingStep.build({
      tf,
      job: { model, loss: 'meanSquaredError', metrics: [] },
      seed: 7,
      log,
      sample,
    });
    const step = compiledStep(eager);
    step.prepare(sample, key);
    const views = sharedCopies(step.initialValues());
    const copies = views.map((view) => view.slice());
    step.bindWeights(views);
    runSlot(step, sample, key);
    expect(views.map((view) => [...view])).toEqual(copies.map((copy) => [...copy]));
    step.dispose();
  });
});
