/** Draws the next token of a text from what a model says of it. A function of the seed and of the logits alone. */
import { LockstepError } from '../../src/errors.js';
import { randomStream } from '../compute/random.js';

export interface SamplerOptions {
  /** Logits are divided by it; 0: the likeliest token, always. */
  readonly temperature: number;
  /** Only so many of the likeliest. @default all */
  readonly topK?: number | undefined;
  readonly seed: number;
}

export class TokenSampler {
  readonly #temperature: number;
  readonly #topK: number;
  readonly #random: () => number;

  constructor({ temperature, topK = Infinity, seed }: SamplerOptions) {
    this.#temperature = temperature;
    this.#topK = topK;
    this.#random = randomStream({ purpose: 'generation', seed });
  }

  /**
   * @param logits -Infinity: never
   * @throws LockstepError ERR_MODEL_INVALID where nothing can be drawn from them
   */
  next(logits: Float32Array): number {
    const ranked = this.#ranked(logits);
    const best = ranked[0] ?? 0;
    if (this.#temperature === 0) return best;
    const highest = logits[best] ?? NaN;
    const weights = ranked.map((token) => Math.exp(((logits[token] ?? NaN) - highest) / this.#temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let left = this.#random() * total;
    const drawn = weights.findIndex((weight) => (left -= weight) < 0);
    return ranked[drawn] ?? best; // where sums round, nothing may be left
  }

  /** Tokens, the likeliest first; of equal ones the lower number. */
  #ranked(logits: Float32Array): number[] {
    const tokens = Array.from(logits, (_, token) => token);
    const unusable = tokens.find((token) => !((logits[token] ?? NaN) < Infinity)); // NaN is below nothing
    if (unusable !== undefined) throw notDrawnFrom(`token ${unusable} the logit ${logits[unusable] ?? NaN}`);
    if (logits.every((logit) => logit === -Infinity)) throw notDrawnFrom('each token the logit -Infinity');
    return tokens.sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b).slice(0, this.#topK);
  }
}

function notDrawnFrom(found: string): LockstepError {
  const message = `The model gives ${found}: expected finite numbers. Are these the weights of a run that went well?`;
  return new LockstepError('ERR_MODEL_INVALID', message);
}
