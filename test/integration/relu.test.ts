/** The gradient of ReLU, which Lockstep takes in one op. */
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { Tensor } from '@tensorflow/tfjs';
import { loadEngine } from '../../worker/compute/engine/load.js';
import type { Tfjs } from '../../worker/compute/engine/tfjs.js';
import { nodeBackend } from '../../worker/compute/node-backend.js';
import { sameBits } from '../../worker/compute/compiled/same-bits.js';

const ignore = (): void => undefined;

let tf: Tfjs;
beforeAll(async () => {
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  ({ tf } = await loadEngine({ threads: 1, device: 'cpu', log }));
});

const floatsOf = (tensor: Tensor): Float32Array => tensor.dataSync<'float32'>();

const values = [0, -0, 1, -1, 1e-45, -1e-45, 3e38, -3e38, Infinity, -Infinity];

describe('the gradient of ReLU', () => {
  it('has the bits that tfjs would give it, of any two numbers', () => {
    tf.tidy(() => {
      const [x, dy] = [
        tf.tensor1d(values.flatMap((one) => values.map(() => one))),
        tf.tile(tf.tensor1d(values), [values.length]),
      ];
      const found = tf.grad((one: Tensor) => tf.relu(one))(x, dy);
      const expected = tf.mul(dy, tf.cast(tf.step(x), 'float32'));
      expect(sameBits(floatsOf(expected), floatsOf(found))).toBe(true);
    });
  });

  it('has a gradient itself, for losses that have gradients in them', () => {
    tf.tidy(() => {
      const cubes = (one: Tensor): Tensor => tf.sum(tf.pow(tf.relu(one), 3));
      const second = tf.grad((one: Tensor) => tf.sum(tf.grad(cubes)(one)))(tf.tensor1d([-2, -1, 1, 2]));
      expect([...floatsOf(second)]).toEqual([0, 0, 6, 12]);
    });
  });

  it('is one op', () => {
    const backend = nodeBackend(tf);
    if (!backend) throw new Error('TensorFlow is not there');
    const ran = vi.spyOn(backend, 'executeSingleOutput');
    tf.tidy(() => void tf.grad((one: Tensor) => tf.relu(one))(tf.tensor1d([-1, 1]), tf.tensor1d([1, 1])));
    expect(ran.mock.calls.map(([name]) => name)).toEqual(['Relu', 'ReluGrad']);
  });
});
