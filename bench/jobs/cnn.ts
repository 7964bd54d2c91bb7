/** Two convolutions, of 32 and 64 filters, on images of 28 × 28. */
import { adam, defineJob, tf } from 'lockstep';
import { randomClasses, randomValues } from './random.js';
import { repeated, type Rows } from './repeated.js';

const numRows = 1920;

export const rows: Rows = {
  x: { data: randomValues(numRows * 784, 1), shape: [numRows, 28, 28, 1] },
  y: { data: randomClasses(numRows, 10, 2), shape: [numRows, 1] },
};

export default defineJob({
  name: 'cnn',
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: [28, 28, 1], filters: 32, kernelSize: 3, activation: 'relu' }),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.flatten(),
        tf.layers.dense({ units: 10, activation: 'softmax' }),
      ],
    }),
  loss: 'sparseCategoricalCrossentropy',
  data: { train: repeated(rows) },
  optimizer: adam(),
  batchSize: 64,
});
