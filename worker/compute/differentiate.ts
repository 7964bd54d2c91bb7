/** A loss and its gradients, without what tfjs leaves behind where it throws. */
import type { NamedTensorMap, Scalar, Variable } from '@tensorflow/tfjs';
import type { Tfjs } from './engine/tfjs.js';

export interface Differentiated {
  readonly value: Scalar;
  readonly grads: NamedTensorMap;
}

/**
 * `tf.variableGrads`, without its leak: tfjs frees what the tape saved only if the function on it returns, so what the
 * function throws is thrown on when the tape is done.
 */
export function differentiate(tf: Tfjs, variables: Variable[], loss: () => Scalar): Differentiated {
  const thrown: unknown[] = [];
  const differentiated = tf.variableGrads(() => {
    try {
      return loss();
    } catch (error) {
      thrown.push(error);
      return tf.addN(variables.map((variable) => tf.sum(variable)));
    }
  }, variables);
  if (thrown.length > 0) throw thrown[0];
  return differentiated;
}
