/** Losses that tfjs does not have by name. */
import type { Tensor } from '@tensorflow/tfjs';
import type { BatchFunction } from '../../src/job/job.js';
import { withGradient } from './custom-gradient.js';
import type { Tfjs } from './engine/tfjs.js';

/** Each loss of ours, by the name that a job gives it. */
export const ownLosses = {
  sparseCategoricalCrossentropyFromLogits: crossEntropyOfLogits,
} as const satisfies Record<string, (tf: Tfjs) => BatchFunction>;

export type OwnLoss = keyof typeof ownLosses;

/**
 * −log softmax(logits)[label] for each label. No probability is too small for it; the loss of probabilities stops at 1e-7.
 * Labels are numbers of classes, [...] or [..., 1], for logits of [..., classes].
 */
function crossEntropyOfLogits(tf: Tfjs): BatchFunction {
  return (labels, logits) => {
    const numClasses = logits.shape.at(-1) ?? 0;
    return lossOfRows(tf, tf.reshape(logits, [-1, numClasses]), tf.reshape(tf.cast(labels, 'int32'), [-1]));
  };
}

/** [rows, classes] and the number of each row's class → [rows]. No one-hot rows before the backward pass: classes are many. */
function lossOfRows(tf: Tfjs, logits: Tensor, classes: Tensor): Tensor {
  const [numRows = 0, numClasses = 0] = logits.shape;
  return withGradient(tf, [logits], {
    forward: () => {
      const shifted = tf.sub(logits, tf.max(logits, -1, true));
      const exponentials = tf.exp(shifted);
      const sums = tf.sum(exponentials, -1, true);
      const places = tf.stack([tf.range(0, numRows, 1, 'int32'), classes], 1);
      const value = tf.sub(tf.squeeze(tf.log(sums), [-1]), tf.gatherND(shifted, places));
      return { value, saved: [tf.div(exponentials, sums), classes] };
    },
    backward: (dy, saved) => {
      const oneHot = tf.oneHot(saved(1), numClasses, 1, 0, 'float32');
      return [tf.mul(tf.sub(saved(0), oneHot), tf.expandDims(dy, -1))];
    },
  });
}
