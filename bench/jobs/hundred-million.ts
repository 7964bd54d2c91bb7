/** An MLP of 100 million parameters on few rows: what a worker needs in memory is its state. */
import { adam, defineJob, tf } from 'lockstep';
import { randomValues } from './random.js';
import { repeated, type Rows } from './repeated.js';

const [numRows, numInputs, hidden] = [64, 5000, 10_000];

/** Two kernels and two biases. */
export const numParameters = 2 * numInputs * hidden + hidden + numInputs;

const rows: Rows = {
  x: { data: randomValues(numRows * numInputs, 1), shape: [numRows, numInputs] },
  y: { data: randomValues(numRows * numInputs, 2), shape: [numRows, numInputs] },
};

export default defineJob({
  name: 'hundred-million',
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [numInputs], units: hidden, activation: 'relu' }),
        tf.layers.dense({ units: numInputs }),
      ],
    }),
  loss: 'meanSquaredError',
  data: { train: repeated(rows) },
  optimizer: adam(),
  batchSize: 2,
});
