/** Each operation and its gradient against what tfjs derives from the formula as it is written. */
import type { Tensor } from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { ownLosses } from '../../../worker/compute/losses.js';
import { geluTanh, lookUp, normalizeRows } from '../../../worker/compute/transformer-ops.js';
import { given, maxDifference, readAll, spread, tf } from './toy.js';

const tolerance = 1e-6;

interface Case {
  readonly shapes: readonly (readonly number[])[];
  readonly ours: (...inputs: Tensor[]) => Tensor;
  readonly plain: (...inputs: Tensor[]) => Tensor;
}

const rows = [2, 0, 2, 1];
const labels = () => tf.tensor1d([1, 0, 3, 3], 'int32');

const cases: Readonly<Record<string, Case>> = {
  'a look-up': {
    shapes: [[3, 5]],
    ours: (table) => lookUp(tf, given(table), tf.tensor1d(rows, 'int32')),
    plain: (table) => tf.matMul(tf.oneHot(tf.tensor1d(rows, 'int32'), 3, 1, 0, 'float32'), given(table)),
  },
  'layer normalization': {
    shapes: [[4, 5], [5], [5]],
    ours: (x, scale, shift) => normalizeRows(tf, given(x), { scale: given(scale), shift: given(shift), epsilon: 1e-5 }),
    plain: (x, scale, shift) => {
      const { mean, variance } = tf.moments(given(x), -1, true);
      const normal = tf.div(tf.sub(given(x), mean), tf.sqrt(tf.add(variance, 1e-5)));
      return tf.add(tf.mul(normal, given(scale)), given(shift));
    },
  },
  'the tanh form of GELU': {
    shapes: [[4, 5]],
    ours: (x) => geluTanh(tf, given(x)),
    plain: (x) => {
      const inner = tf.mul(tf.add(given(x), tf.mul(tf.pow(given(x), 3), 0.044715)), Math.sqrt(2 / Math.PI));
      return tf.mul(tf.mul(given(x), 0.5), tf.add(tf.tanh(inner), 1));
    },
  },
  'the cross-entropy of logits': {
    shapes: [[2, 2, 4]],
    ours: (logits) =>
      ownLosses.sparseCategoricalCrossentropyFromLogits(tf)(tf.reshape(labels(), [2, 2]), given(logits)),
    plain: (logits) => {
      const log = tf.logSoftmax(tf.reshape(given(logits), [4, 4]));
      return tf.neg(tf.sum(tf.mul(log, tf.oneHot(labels(), 4, 1, 0, 'float32')), -1));
    },
  },
};

/** The value, and the gradients of a sum in which every part of it has another weight. */
function evaluate(operation: Case['ours'], shapes: Case['shapes']): Float32Array[] {
  return tf.tidy(() => {
    const inputs = shapes.map((shape, index) => tf.mul(tf.tensor(spread(sizeOf(shape), index), [...shape]), 2));
    const weigh = (value: Tensor): Tensor => tf.sum(tf.mul(value, tf.tensor(spread(value.size, 50), value.shape)));
    const { grads } = tf.valueAndGrads((...tensors: Tensor[]) => weigh(operation(...tensors)))(inputs);
    return readAll([operation(...inputs), ...grads]);
  });
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}

describe('the value and the gradients are those of the plain formula:', () => {
  it.each(Object.entries(cases))('%s', (_, { shapes, ours, plain }) => {
    expect(maxDifference(evaluate(ours, shapes), evaluate(plain, shapes))).toBeLessThan(tolerance);
  });
});

it('the cross-entropy of logits stays finite where a probability is 0 in float32', () => {
  const [loss] = tf.tidy(() =>
    readAll([
      ownLosses.sparseCategoricalCrossentropyFromLogits(tf)(tf.tensor1d([1], 'int32'), tf.tensor2d([[200, 0]])),
    ]),
  );
  expect([...given(loss)]).toEqual([200]);
});
