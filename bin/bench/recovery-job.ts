/**
 * What `lockstep bench recovery` trains: 784-1024-1024-10 on random rows, 64 of them for each slot. Its steps take some ten
 * milliseconds, so that the last 200, which a flight recorder keeps, last until the run is whole again.
 */
import { defineJob } from '../../src/job/job.js';
import { adam } from '../../src/optimizer/config.js';
import { tf } from '../../worker/compute/tf.js';

const numColumns = 784;
const numClasses = 10;
/** An epoch never ends, and no checkpoint falls into a measurement. */
const numRows = 2 ** 30;

export default defineJob({
  name: 'recovery',
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [numColumns], units: 1024, activation: 'relu' }),
        tf.layers.dense({ units: 1024, activation: 'relu' }),
        tf.layers.dense({ units: numClasses, activation: 'softmax' }),
      ],
    }),
  loss: 'sparseCategoricalCrossentropy',
  data: {
    train: {
      length: numRows,
      read: (indices) => ({
        x: { data: valuesOf(indices), shape: [indices.length, numColumns] },
        y: { data: Int32Array.from(indices, (row) => row % numClasses), shape: [indices.length, 1] },
      }),
    },
  },
  optimizer: adam(),
  batchSize: 64,
});

/** From -1 to 1, without a pattern that matters to how long a step takes. */
function valuesOf(rows: ArrayLike<number>): Float32Array {
  const values = new Float32Array(rows.length * numColumns);
  for (let row = 0; row < rows.length; row++) {
    let state = ((rows[row] ?? 0) + 1) | 0;
    for (let column = 0; column < numColumns; column++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      values[row * numColumns + column] = state / 2 ** 31;
    }
  }
  return values;
}
