/** What only a forward pass can tell of a model. */
import type { Batch } from '../../src/job/dataset.js';
import { checkTokens, inputTensor } from './batch.js';
import type { Tfjs } from './engine/tfjs.js';
import { withSeededRandom } from './random.js';
import type { TrainableModel } from './trainable-model.js';

export interface FirstPass {
  readonly outputShape: readonly number[];
  /** One per parameter. */
  readonly assigned: readonly boolean[];
}

interface FirstPassOptions {
  readonly tf: Tfjs;
  readonly seed: number;
  readonly sample: Batch;
}

/** The output's shape, and which variables the model assigns in training. */
export function passForward(model: TrainableModel, { tf, seed, sample }: FirstPassOptions): FirstPass {
  checkTokens(sample, model.numTokens);
  const before = model.variables.map(({ dataId }) => dataId);
  try {
    const outputShape = withSeededRandom({ purpose: 'evaluation', seed }, () =>
      tf.tidy(() => model.forward(inputTensor(tf, sample.x), true).shape),
    );
    return { outputShape, assigned: model.variables.map(({ dataId }, index) => dataId !== before[index]) };
  } finally {
    model.forgetPass();
  }
}
