/**
 * Losses whose labels are smoothed (Szegedy et al., 2016, arXiv:1512.00567), as Keras has them: instead of 1 for the class and 0 for the others,
 * `label * (1 - smoothing) + smoothing / classes` is expected.
 */
import type { Tensor } from '@tensorflow/tfjs';
import type { BatchFunction } from '../../src/job/job.js';
import type { Tfjs } from './engine/tfjs.js';
import { ownLosses } from './losses.js';

/** Makes a loss, of the part of each label that is shared out over all classes. */
type MakeLoss = (tf: Tfjs, smoothing: number) => BatchFunction;

/** By the name that a job gives it. */
export const smoothedLosses: Readonly<Record<string, MakeLoss>> = {
  categoricalCrossentropy: (tf, smoothing) => (labels, output) =>
    tf.metrics.categoricalCrossentropy(smooth(tf, labels, smoothing, numClassesOf(output)), output),
  binaryCrossentropy: (tf, smoothing) => (labels, output) =>
    tf.metrics.binaryCrossentropy(smooth(tf, labels, smoothing, 2), output),
  sparseCategoricalCrossentropy: (tf, smoothing) => (labels, output) => {
    const classes = tf.reshape(tf.cast(labels, 'int32'), [-1]);
    const oneHot = tf.reshape(tf.oneHot(classes, numClassesOf(output), 1, 0, 'float32'), output.shape);
    return tf.metrics.categoricalCrossentropy(smooth(tf, oneHot, smoothing, numClassesOf(output)), output);
  },
  // What is shared out expects each class alike: -log of its chance is log Σ exp(logits) - logit.
  sparseCategoricalCrossentropyFromLogits: (tf, smoothing) => (labels, output) => {
    const logits = tf.reshape(output, [-1, numClassesOf(output)]);
    const ofLabels = ownLosses.sparseCategoricalCrossentropyFromLogits(tf)(labels, logits);
    const ofAll = tf.sub(tf.logSumExp(logits, -1), tf.mean(logits, -1));
    return tf.add(tf.mul(ofLabels, 1 - smoothing), tf.mul(ofAll, smoothing));
  },
};

function smooth(tf: Tfjs, labels: Tensor, smoothing: number, numClasses: number): Tensor {
  return tf.add(tf.mul(labels, 1 - smoothing), smoothing / numClasses);
}

function numClassesOf(output: Tensor): number {
  return output.shape.at(-1) ?? 0;
}
