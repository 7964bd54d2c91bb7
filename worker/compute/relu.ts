/**
 * The gradient of ReLU as TensorFlow's one op, in place of the five that tfjs-node takes for it: of a network of convolutions these
 * took an eighth of a step. It has their bits, but where an activation is NaN: there it is 0, where theirs is NaN.
 */
import type { Tensor } from '@tensorflow/tfjs';
import { withGradient } from './custom-gradient.js';
import type { Tfjs } from './engine/tfjs.js';
import { nodeBackend } from './node-backend.js';

/** From now on in this process; on other backends than tfjs-node's it stays as it is. */
export function spellReluGradient(tf: Tfjs): void {
  const backend = nodeBackend(tf);
  if (!backend) return;
  const { TF_ATTR_TYPE, TF_FLOAT } = backend.binding;
  const type = { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT };
  // Its own gradient is there for losses that have gradients in them.
  const reluGradient = (dy: Tensor, y: Tensor): Tensor =>
    withGradient(tf, [dy], {
      forward: () => ({ value: backend.executeSingleOutput('ReluGrad', [type], [dy, y]), saved: [y] }),
      backward: (ddy, saved) => [reluGradient(ddy, saved(0))],
    });
  tf.registerGradient({
    kernelName: 'Relu',
    // An activation is kept by the next layer anyway, and what it was made of is not.
    outputsToSave: [true],
    gradFunc: (dy, saved) => {
      const [y] = saved;
      if (!y || Array.isArray(dy)) throw new TypeError('ReLU has one output, which is saved');
      return { x: () => (nodeBackend(tf) ? reluGradient(dy, y) : tf.mul(dy, tf.step(y))) };
    },
  });
}
