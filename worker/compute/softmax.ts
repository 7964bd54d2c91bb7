/**
 * Softmax as six ops of TensorFlow, in place of its one. In graphs on a CPU oneDNN takes that one over, with other bits than it has
 * in eager mode; and its own kernel takes exponentials in blocks, at whose ends the last bit is another one than six ops in a
 * graph would give. The six are the same in both.
 */
import type { Tensor } from '@tensorflow/tfjs';
import type { Tfjs } from './engine/tfjs.js';
import { nodeBackend, typeNumbers } from './node-backend.js';

/** From now on `tf.softmax`, and all that calls it, runs so in this process; on other backends than tfjs-node's it stays as it is. */
export function spellSoftmax(tf: Tfjs): void {
  const backend = nodeBackend(tf);
  if (!backend) return;
  const { TF_ATTR_TYPE, TF_ATTR_BOOL, TF_FLOAT } = backend.binding;
  const type = { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT };
  const reduction = [
    type,
    { name: 'Tidx', type: TF_ATTR_TYPE, value: typeNumbers.int32 },
    { name: 'keep_dims', type: TF_ATTR_BOOL, value: true },
  ];
  const run = (op: string, ...inputs: Tensor[]): Tensor => backend.executeSingleOutput(op, [type], inputs);
  const reduce = (op: string, of: Tensor): Tensor =>
    backend.executeSingleOutput(op, reduction, [of, tf.tensor1d([-1], 'int32')]);
  tf.unregisterKernel('Softmax', 'tensorflow');
  tf.registerKernel({
    kernelName: 'Softmax',
    backendName: 'tensorflow',
    kernelFunc: ({ inputs }) =>
      tf.tidy(() => {
        const logits = inputs.logits as Tensor; // the only input of the kernel, float32, of which tfjs takes the last axis
        const exponentials = run('Exp', run('Sub', logits, reduce('Max', logits)));
        return run('Mul', exponentials, run('Reciprocal', reduce('Sum', exponentials)));
      }),
  });
}
