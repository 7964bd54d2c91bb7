/** What a trained model says of rows, batch by batch. */
import { assert } from '../../src/errors.js';
import type { Batch, Column, Dataset } from '../../src/job/dataset.js';
import { checkTokens, inputTensor } from '../compute/batch.js';
import type { Tfjs } from '../compute/engine/tfjs.js';
import { withSeededRandom } from '../compute/random.js';
import type { TrainableModel } from '../compute/trainable-model.js';
import { locate, readRows } from '../locate.js';
import { makeTrainedModel, type TrainedModelOptions } from './trained-model.js';

export interface PredictionOptions extends Omit<TrainedModelOptions, 'sample'> {
  readonly data: Dataset;
  /** Rows at once. */
  readonly batchRows: number;
}

/** The outputs for all rows in order, a batch at a time: [rows, …]. */
export async function* predict(options: PredictionOptions): AsyncGenerator<Column> {
  const { tf, job, data, batchRows } = options;
  const model = await makeTrainedModel({ ...options, sample: await data.read([0]) });
  try {
    for (let row = 0; row < data.length; row += batchRows) {
      const indices = Array.from({ length: Math.min(batchRows, data.length - row) }, (_, at) => row + at);
      const batch = await readRows(data, indices, 0);
      yield outputFor(batch, { tf, model, seed: job.seed, data, indices });
    }
  } finally {
    model.dispose();
  }
}

interface BatchContext {
  readonly tf: Tfjs;
  readonly model: TrainableModel;
  readonly seed: number;
  readonly data: Dataset;
  readonly indices: readonly number[];
}

function outputFor(batch: Batch, { tf, model, seed, data, indices }: BatchContext): Column {
  let column: Column | undefined;
  try {
    checkTokens(batch, model.numTokens);
    withSeededRandom({ purpose: 'evaluation', seed }, () => {
      tf.tidy(() => {
        const output = model.forward(inputTensor(tf, batch.x), false);
        column = { data: output.dataSync<'float32'>(), shape: output.shape };
      });
    });
  } catch (thrown) {
    throw locate(thrown, data, indices, 0);
  } finally {
    model.forgetPass();
  }
  assert(column !== undefined, 'A pass ended without an output');
  return column;
}
