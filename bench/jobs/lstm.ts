/** An LSTM of 32 units over 20 time steps. */
import { adam, defineJob, tf } from 'lockstep';
import { randomClasses, randomValues } from './random.js';
import { repeated, type Rows } from './repeated.js';

const [numRows, numTimes, numFeatures] = [1920, 20, 32];

export const rows: Rows = {
  x: { data: randomValues(numRows * numTimes * numFeatures, 1), shape: [numRows, numTimes, numFeatures] },
  y: { data: randomClasses(numRows, 10, 2), shape: [numRows, 1] },
};

export default defineJob({
  name: 'lstm',
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.lstm({ inputShape: [numTimes, numFeatures], units: 32 }),
        tf.layers.dense({ units: 10, activation: 'softmax' }),
      ],
    }),
  loss: 'sparseCategoricalCrossentropy',
  data: { train: repeated(rows) },
  optimizer: adam(),
  batchSize: 32,
});
