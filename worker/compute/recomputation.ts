/**
 * Activation recomputation (Chen et al., 2016, arXiv:1604.06174): of a part of a model only its inputs are kept for the
 * backward pass, which computes the part anew. The same ops on the same numbers, random ones too: the same bits.
 */
import type { Tensor } from '@tensorflow/tfjs';
import { withGradient } from './custom-gradient.js';
import type { Tfjs } from './engine/tfjs.js';
import { nodeBackend, typeNumbers, type NodeBackend } from './node-backend.js';
import { numDrawn, withDraws } from './stateless-random.js';

export interface ModelPart {
  /** What it is computed from, and is kept; float32. */
  readonly activations: readonly Tensor[];
  /** The weights that it uses, all of which the result depends on. */
  readonly weights: readonly Tensor[];
  /** What else it takes, without a gradient. */
  readonly constants: readonly Tensor[];
  /** From other tensors with the same values, in the same order. Uses none but these, and reads none. */
  readonly compute: (tensors: Omit<ModelPart, 'compute'>) => Tensor;
}

/** What `part` computes. In plain JavaScript nothing is computed twice: the host's random numbers come once. */
export function recomputed(tf: Tfjs, part: ModelPart): Tensor {
  const { activations, weights, constants, compute } = part;
  const backend = nodeBackend(tf);
  if (!backend) return compute(part);
  const numActivations = activations.length;
  const numGraded = numActivations + weights.length;
  const firstDraw = numDrawn();
  return withGradient(tf, [...activations, ...weights], {
    forward: () => {
      const value = withDraws({ first: firstDraw, late: waitFor(tf, backend, activations) }, () => compute(part));
      return { value, saved: [...activations, ...weights, ...constants] };
    },
    backward: (dy, saved) =>
      tf.tidy(() => {
        const late = waitFor(tf, backend, [dy]);
        const kept = Array.from({ length: numGraded }, (_, index) => saved(index));
        const given = kept.map((tensor, index) => (index < numActivations ? late(tensor) : tensor));
        const again = (...tensors: Tensor[]): Tensor =>
          compute({
            activations: tensors.slice(0, numActivations),
            weights: tensors.slice(numActivations),
            constants: constants.map((_, index) => saved(numGraded + index)),
          });
        return withDraws({ first: firstDraw, late }, () => onTapeOfItsOwn(tf, () => tf.grads(again)(given, dy)));
      }),
  });
}

/**
 * Gives a tensor's values once `others` are there, and not before: in a graph of which nothing says when, TensorFlow would
 * take the second computation for the first and keep its values, or run it at once. A copy that costs none: on a CPU, and
 * with one condition for all of it, Select hands its input on.
 */
function waitFor(tf: Tfjs, backend: NodeBackend, others: readonly Tensor[]): (tensor: Tensor) => Tensor {
  const { TF_ATTR_TYPE: type } = backend.binding;
  const firsts = others.map((other) => tf.slice(tf.reshape(other, [-1]), [0], [1]));
  const either = tf.greater(tf.sum(tf.concat(firsts)), 0);
  return (tensor) => {
    const attributes = [{ name: 'T', type, value: typeNumbers[tensor.dtype] }];
    return backend.executeSingleOutput('Select', attributes, [either, tensor, tensor]);
  };
}

/** tfjs has one tape, and what takes a gradient while another one is followed backwards would throw that one's away. */
function onTapeOfItsOwn<T>(tf: Tfjs, body: () => T): T {
  const { state } = tf.engine();
  const { activeTape } = state;
  try {
    return body();
  } finally {
    state.activeTape = activeTape;
  }
}
