/** An operation whose gradient is written out: fewer ops, and fewer tensors kept for the backward pass, than tfjs derives. */
import type { Tensor } from '@tensorflow/tfjs';
import { assert } from '../../src/errors.js';
import type { Tfjs } from './engine/tfjs.js';

export interface Forward {
  readonly value: Tensor;
  /** What the gradient needs of this pass. */
  readonly saved: readonly Tensor[];
}

export interface CustomOperation {
  readonly forward: () => Forward;
  /** From the gradient of `value`: that of each input, in their order. */
  readonly backward: (dy: Tensor, saved: (index: number) => Tensor) => Tensor[];
}

/** `inputs` are the tensors that get a gradient; others may be used as constants. */
export function withGradient(tf: Tfjs, inputs: readonly Tensor[], { forward, backward }: CustomOperation): Tensor {
  const operation = tf.customGrad((...given) => {
    const { value, saved } = forward();
    // After the inputs, tfjs gives the function that saves; its types do not tell which is which.
    const save = given.at(-1) as (tensors: readonly Tensor[]) => void;
    save(saved);
    return { value, gradFunc: (dy: Tensor, kept: Tensor[]) => backward(dy, (index) => savedAt(kept, index)) };
  });
  return operation(...inputs);
}

function savedAt(kept: readonly Tensor[], index: number): Tensor {
  const tensor = kept[index];
  assert(tensor, `A gradient needs tensor ${index} of its forward pass, which saved ${kept.length}`);
  return tensor;
}
