/** The operations of a transformer that tfjs lacks, or whose gradients it takes in many pieces. */
import type { Tensor } from '@tensorflow/tfjs';
import { withGradient } from './custom-gradient.js';
import type { Tfjs } from './engine/tfjs.js';

/**
 * Rows of a table, by number: [rows, width] and int32 [n] → [n, width]. The gradient of a row is the sum over all places
 * that have it.
 */
export function lookUp(tf: Tfjs, table: Tensor, rows: Tensor): Tensor {
  const [numRows = 0] = table.shape;
  return withGradient(tf, [table], {
    forward: () => ({ value: tf.gather(table, rows), saved: [rows] }),
    backward: (dy, saved) => [tf.unsortedSegmentSum(dy, tf.reshape(saved(0), [-1]), numRows)],
  });
}

export interface Normalization {
  /** [width] */
  readonly scale: Tensor;
  /** [width] */
  readonly shift: Tensor;
  readonly epsilon: number;
}

/** Layer normalization of each row (Ba et al., 2016, arXiv:1607.06450): [n, width] → [n, width]. */
export function normalizeRows(tf: Tfjs, x: Tensor, { scale, shift, epsilon }: Normalization): Tensor {
  return withGradient(tf, [x, scale, shift], {
    forward: () => {
      const centered = tf.sub(x, tf.mean(x, -1, true));
      const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), epsilon));
      const normal = tf.mul(centered, inverse);
      return { value: tf.add(tf.mul(normal, scale), shift), saved: [normal, inverse, scale] };
    },
    backward: (dy, saved) => {
      const [normal, inverse] = [saved(0), saved(1)];
      const dNormal = tf.mul(dy, saved(2));
      const along = tf.mul(normal, tf.mean(tf.mul(dNormal, normal), -1, true));
      const dx = tf.mul(inverse, tf.sub(tf.sub(dNormal, tf.mean(dNormal, -1, true)), along));
      return [dx, tf.sum(tf.mul(dy, normal), 0), tf.sum(dy, 0)];
    },
  });
}

const tanhFactor = Math.sqrt(2 / Math.PI);
const cubeFactor = 0.044715;

/** x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))): GELU in the form that GPT-2 has (Hendrycks and Gimpel, arXiv:1606.08415). */
export function geluTanh(tf: Tfjs, x: Tensor): Tensor {
  return withGradient(tf, [x], {
    forward: () => {
      const inner = tf.mul(x, tf.add(tf.mul(tf.square(x), tanhFactor * cubeFactor), tanhFactor));
      const tanh = tf.tanh(inner);
      return { value: tf.mul(tf.mul(x, 0.5), tf.add(tanh, 1)), saved: [x, tanh] };
    },
    backward: (dy, saved) => {
      const [input, tanh] = [saved(0), saved(1)];
      const dInner = tf.add(tf.mul(tf.square(input), 3 * tanhFactor * cubeFactor), tanhFactor);
      const ofTanh = tf.mul(tf.mul(input, tf.sub(1, tf.square(tanh))), dInner);
      return [tf.mul(tf.mul(dy, 0.5), tf.add(tf.add(tanh, 1), ofTanh))];
    },
  });
}
