/** The network of bench/peers/ddp_train.py and tf_train.py: 784-h-h-10, on as many random rows. */
import { adam, defineJob, tf, type JobDefinition } from 'lockstep';
import { randomClasses, randomValues } from './random.js';
import { repeated, type Rows } from './repeated.js';

const numRows = 6000;

export const rows: Rows = {
  x: { data: randomValues(numRows * 784, 1), shape: [numRows, 784] },
  y: { data: randomClasses(numRows, 10, 2), shape: [numRows, 1] },
};

/** @param batchSize of one worker; `--set batchSize=…` for several */
export function perceptron(hidden: number, batchSize: number): JobDefinition {
  return defineJob({
    name: `mlp-${hidden}`,
    model: () =>
      tf.sequential({
        layers: [
          tf.layers.dense({ inputShape: [784], units: hidden, activation: 'relu' }),
          tf.layers.dense({ units: hidden, activation: 'relu' }),
          tf.layers.dense({ units: 10, activation: 'softmax' }),
        ],
      }),
    loss: 'sparseCategoricalCrossentropy',
    data: { train: repeated(rows) },
    optimizer: adam(),
    batchSize,
  });
}
