/** A small network on rows that come after a while, so that cores are left for workers that start. Its epoch never ends. */
import { setTimeout as delay } from 'node:timers/promises';
import { adam, defineJob, tf } from 'lockstep';

const numColumns = 64;
const numClasses = 4;
const numRows = 2 ** 30;
const rowsMs = 5;

export default defineJob({
  name: 'endurance',
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [numColumns], units: 128, activation: 'relu' }),
        tf.layers.dense({ units: numClasses, activation: 'softmax' }),
      ],
    }),
  loss: 'sparseCategoricalCrossentropy',
  metrics: ['accuracy'],
  data: {
    train: {
      length: numRows,
      read: async (indices) => {
        await delay(rowsMs);
        const x = Float32Array.from({ length: indices.length * numColumns }, (_, i) =>
          Math.sin(i + (indices[Math.floor(i / numColumns)] ?? 0)),
        );
        return {
          x: { data: x, shape: [indices.length, numColumns] },
          y: { data: Int32Array.from(indices, (row) => row % numClasses), shape: [indices.length, 1] },
        };
      },
    },
  },
  optimizer: adam(),
  batchSize: 32,
  slots: 4,
  threads: 1,
});
