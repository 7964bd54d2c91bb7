/** The training step against PyTorch, on whichever engine this machine has: test/golden/mlp/README.md says how it was made. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Batch } from '../../src/job/dataset.js';
import type { FunctionalModel, Model } from '../../src/job/job.js';
import type { Log } from '../../src/log.js';
import { sizeOf } from '../../src/state/parameter.js';
import { loadEngine } from '../../worker/compute/engine/load.js';
import type { Tfjs } from '../../worker/compute/engine/tfjs.js';
import { TrainingStep } from '../../worker/compute/step.js';

const golden = new URL('../golden/mlp/', import.meta.url);
const digits = new URL('../../examples/digits/digits.csv.gz', import.meta.url);
const batchSize = 64;
const numPixels = 8;
const side = 28;

/** PyTorch computed in float64: what is left is the rounding of float32 here. */
const gradientTolerance = 1e-6;
const lossTolerance = 1e-6;

const silentLog: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
function ignore(): void {
  // The engine's fallback to plain JavaScript is as good here.
}

let tf: Tfjs;
let step: TrainingStep | undefined;

beforeAll(async () => {
  ({ tf } = await loadEngine({ threads: 1, device: 'cpu', log: silentLog }));
});
afterAll(() => step?.dispose());

function readSafetensors(name: string): Map<string, Float32Array> {
  const bytes = readFileSync(new URL(name, golden));
  const dataStart = 8 + Number(bytes.readBigUInt64LE(0));
  // The format: an object of these, by name (https://github.com/huggingface/safetensors#format).
  const header = JSON.parse(bytes.toString('utf8', 8, dataStart)) as Record<string, { data_offsets: [number, number] }>;
  const read = ([start, end]: [number, number]) =>
    new Float32Array(Uint8Array.from(bytes.subarray(dataStart + start, dataStart + end)).buffer);
  return new Map(Object.entries(header).map(([tensor, { data_offsets }]) => [tensor, read(data_offsets)]));
}

/** The first rows in file order, as expected.json says: pixels over 16, enlarged threefold, with a border of 2. */
function firstBatch(): Batch {
  const lines = gunzipSync(readFileSync(digits)).toString('utf8').split('\n').slice(0, batchSize);
  const x = new Float32Array(batchSize * side * side);
  lines.forEach((line, row) => {
    const pixels = line.split(',').map(Number);
    for (let at = 0; at < 24 * 24; at++) {
      const [down, across] = [Math.floor(at / 24), at % 24];
      const pixel = pixels[Math.floor(down / 3) * numPixels + Math.floor(across / 3)] ?? NaN;
      x[row * side * side + (down + 2) * side + across + 2] = pixel / 16;
    }
  });
  const y = Int32Array.from(lines, (line) => Number(line.split(',')[numPixels ** 2]));
  return { x: { data: x, shape: [batchSize, side * side] }, y: { data: y, shape: [batchSize] } };
}

function layersModel(): Model {
  return tf.sequential({
    layers: [
      tf.layers.dense({ name: 'dense1', units: 128, activation: 'relu', inputShape: [side * side] }),
      tf.layers.dense({ name: 'dense2', units: 128, activation: 'relu' }),
      tf.layers.dense({ name: 'dense3', units: 10, activation: 'softmax' }),
    ],
  });
}

function functionalModel(): FunctionalModel {
  const sizes = { dense1: [784, 128], dense2: [128, 128], dense3: [128, 10] } as const;
  const parameters = Object.entries(sizes).flatMap(([name, [inputs, units]]) => [
    [`${name}/kernel`, tf.zeros([inputs, units])] as const,
    [`${name}/bias`, tf.zeros([units])] as const,
  ]);
  return {
    parameters: Object.fromEntries(parameters),
    forward: (weights, x) => {
      const layer = (name: string, input: typeof x) =>
        tf.add(tf.matMul(input, weights[`${name}/kernel`] ?? 0), weights[`${name}/bias`] ?? 0);
      return tf.softmax(layer('dense3', tf.relu(layer('dense2', tf.relu(layer('dense1', x))))));
    },
  };
}

describe('the first step of the golden MLP', () => {
  it.each([
    ['with layers', layersModel],
    ['without layers', functionalModel],
  ])('has the loss and the gradient of PyTorch (%s)', async (_, model) => {
    step?.dispose();
    const sample = firstBatch();
    const job = { model, loss: 'sparseCategoricalCrossentropy', metrics: [] };
    step = await TrainingStep.build({ tf, job, seed: 0, log: silentLog, sample });
    const [initial, expected] = [readSafetensors('initial.safetensors'), readSafetensors('first-gradient.safetensors')];
    step.bindWeights(step.parameters.map(({ name }) => initial.get(name) ?? new Float32Array()));
    const gradients = step.parameters.map(({ shape }) => new Float32Array(sizeOf(shape)).fill(NaN));

    const { loss } = step.gradient(sample, { seed: 0, step: 0, slot: 0 }, { gradients, state: [] });

    const { lossPerStep } = JSON.parse(readFileSync(new URL('expected.json', golden), 'utf8')) as {
      lossPerStep: number[];
    };
    expect(Math.abs(loss - (lossPerStep[0] ?? NaN))).toBeLessThan(lossTolerance);
    step.parameters.forEach(({ name }, index) => {
      const reference = expected.get(name) ?? new Float32Array();
      const differences = Array.from(gradients[index] ?? [], (value, at) => Math.abs(value - (reference[at] ?? NaN)));
      const largest = differences.reduce((max, difference) => Math.max(max, difference), 0);
      expect(largest, name).toBeLessThan(gradientTolerance);
    });
  });
});
