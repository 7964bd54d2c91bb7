/** A trained model of tokens, which says of a text how likely each next token is. */
import { LockstepError } from '../../src/errors.js';
import type { Job } from '../../src/job/job.js';
import type { Tfjs } from '../compute/engine/tfjs.js';
import type { TrainableModel } from '../compute/trainable-model.js';

export interface LanguageModelOptions {
  readonly tf: Tfjs;
  /** Taken over. */
  readonly model: TrainableModel;
  /** That of its job: it says whether the model gives probabilities or logits. */
  readonly loss: Job['loss'];
}

/** Losses of probabilities; what others take are logits. */
const lossesOfProbabilities: readonly unknown[] = ['sparseCategoricalCrossentropy', 'categoricalCrossentropy'];

export class LanguageModel implements Disposable {
  readonly numTokens: number;
  readonly #tf: Tfjs;
  readonly #model: TrainableModel;
  readonly #maxRowTokens: number;
  readonly #hasProbabilities: boolean;

  /** @throws LockstepError ERR_MODEL_INVALID where it is no model of tokens */
  constructor({ tf, model, loss }: LanguageModelOptions) {
    const { numTokens, maxRowTokens } = model;
    if (numTokens === undefined || maxRowTokens === undefined) {
      model.dispose();
      throw noModelOfTokens();
    }
    this.#tf = tf;
    this.#model = model;
    this.numTokens = numTokens;
    this.#maxRowTokens = maxRowTokens;
    this.#hasProbabilities = lossesOfProbabilities.includes(loss);
  }

  /**
   * Of each token the logit that it comes next.
   *
   * @param tokens of a text, one at least; the last of them, as many as the model takes, count
   */
  logitsAfter(tokens: readonly number[]): Float32Array {
    const tf = this.#tf;
    const row = tokens.slice(-this.#maxRowTokens);
    return tf.tidy(() => {
      const output = this.#model.forward(tf.tensor2d([row], [1, row.length], 'int32'), false);
      const last = tf.slice(output, [0, row.length - 1, 0], [1, 1, this.numTokens]);
      return (this.#hasProbabilities ? tf.log(last) : last).dataSync<'float32'>().slice();
    });
  }

  [Symbol.dispose](): void {
    this.#model.dispose();
  }
}

function noModelOfTokens(): LockstepError {
  const message =
    'The model does not say that it is one of tokens: expected gpt2(…), or { numTokens, maxRowTokens, parameters, forward }.';
  return new LockstepError('ERR_MODEL_INVALID', message);
}
