/** A training pass as one who watches it sees it: the tensors that it begins with, and those that it makes. */
import type { Scalar, Tensor } from '@tensorflow/tfjs';

/** The tensors that a training pass begins with. */
export interface PassInputs {
  readonly inputs: Tensor;
  readonly labels: Tensor;
  /** One per parameter. */
  readonly weights: readonly Tensor[];
}

/** What a training pass makes of them, before anything of it is read. */
export interface PassResults {
  readonly loss: Scalar;
  readonly metrics: readonly Scalar[];
  /** One per trainable parameter; `undefined` for one that the loss does not depend on. */
  readonly gradients: readonly (Tensor | undefined)[];
  /** One per parameter that a step assigns. */
  readonly state: readonly Tensor[];
}

/** Watches a training pass. Its tensors are gone when `end` has returned. */
export interface PassObserver<T> {
  begin?(inputs: PassInputs): void;
  /** A random op of the pass is about to use this seed, that of its place in the pass; one that is computed again has the same place. */
  onSeed?(seed: Tensor, index: number): void;
  /** The pass draws a random number on the host. */
  onHostRandom?(): void;
  end(results: PassResults): T;
}
