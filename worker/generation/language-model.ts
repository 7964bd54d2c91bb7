/** A job's model of tokens with weights from wherever they are, which says of a text how likely each next token is. */
import { LockstepError } from '../../src/errors.js';
import type { Job } from '../../src/job/job.js';
import type { Log } from '../../src/log.js';
import type { Tfjs } from '../compute/engine/tfjs.js';
import { makeModel } from '../compute/model.js';
import type { TrainableModel } from '../compute/trainable-model.js';
import type { InitialWeights } from '../initial-weights.js';

export interface LanguageModelOptions {
  readonly tf: Tfjs;
  readonly job: Pick<Job, 'model' | 'loss' | 'seed'>;
  readonly baseDir: string;
  /** null: the model's own. */
  readonly weights: InitialWeights | null;
  readonly log: Log;
}

/** Losses of probabilities; what others take are logits. */
const lossesOfProbabilities: readonly unknown[] = ['sparseCategoricalCrossentropy', 'categoricalCrossentropy'];

export class LanguageModel implements Disposable {
  readonly numTokens: number;
  readonly #tf: Tfjs;
  readonly #model: TrainableModel;
  readonly #maxRowTokens: number;
  readonly #hasProbabilities: boolean;

  private constructor({ tf, job }: LanguageModelOptions, model: TrainableModel, sizes: TokenSizes) {
    this.#tf = tf;
    this.#model = model;
    this.numTokens = sizes.numTokens;
    this.#maxRowTokens = sizes.maxRowTokens;
    this.#hasProbabilities = lossesOfProbabilities.includes(job.loss);
  }

  /** @throws LockstepError ERR_MODEL_INVALID where it is no model of tokens, or the weights do not fit it */
  static async load(options: LanguageModelOptions): Promise<LanguageModel> {
    const { tf, job, baseDir, log, weights } = options;
    const column = { data: new Int32Array(1), shape: [1, 1] };
    const model = await makeModel(job, { tf, seed: job.seed, log, baseDir, sample: { x: column, y: column } });
    try {
      const loaded = new LanguageModel(options, model, sizesOf(model));
      if (weights) await fill(tf, model, weights);
      return loaded;
    } catch (error) {
      model.dispose();
      throw error;
    }
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

interface TokenSizes {
  readonly numTokens: number;
  readonly maxRowTokens: number;
}

function sizesOf({ numTokens, maxRowTokens }: TrainableModel): TokenSizes {
  if (numTokens !== undefined && maxRowTokens !== undefined) return { numTokens, maxRowTokens };
  const message =
    'The model does not say that it is one of tokens: expected gpt2(…), or { numTokens, maxRowTokens, parameters, forward }.';
  throw new LockstepError('ERR_MODEL_INVALID', message);
}

async function fill(tf: Tfjs, model: TrainableModel, weights: InitialWeights): Promise<void> {
  const variables = new Map(model.parameters.map((parameter, index) => [parameter, model.variables[index]]));
  for await (const [parameter, values] of weights.read(model.parameters)) {
    tf.tidy(() => variables.get(parameter)?.assign(tf.tensor(values, [...parameter.shape])));
  }
}
