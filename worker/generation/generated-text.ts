/** A text that a model writes on to, piece by piece as characters are whole. */
import { LockstepError } from '../../src/errors.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { LanguageModel } from './language-model.js';
import type { TokenSampler } from './token-sampler.js';

export interface GenerationOptions {
  readonly model: LanguageModel;
  readonly tokenizer: Tokenizer;
  readonly sampler: TokenSampler;
  readonly prompt: string;
  /** Tokens behind the prompt; fewer where the text ends. */
  readonly maxTokens: number;
}

/** Ends what has been decoded where a character is not whole. */
const replacement = '\ufffd';

/**
 * What comes behind the prompt.
 *
 * @throws LockstepError ERR_DATA_INVALID where the tokenizer is another model's
 */
export async function* generatedText(options: GenerationOptions): AsyncGenerator<string> {
  const { model, tokenizer, sampler, prompt, maxTokens } = options;
  checkVocabulary(tokenizer, model);
  const { encode, decode } = await tokenizer.codec();
  const tokens = Array.from(encode(prompt === '' ? tokenizer.separator : prompt));
  const numGiven = tokens.length;
  let numSaid = 0;
  while (tokens.length < numGiven + maxTokens) {
    const next = sampler.next(model.logitsAfter(tokens).subarray(0, tokenizer.numTokens));
    if (next === tokenizer.endToken) break;
    tokens.push(next);
    const text = decode(tokens.slice(numGiven));
    if (text.endsWith(replacement)) continue;
    yield text.slice(numSaid);
    numSaid = text.length;
  }
  yield decode(tokens.slice(numGiven)).slice(numSaid);
}

function checkVocabulary({ numTokens }: Tokenizer, model: LanguageModel): void {
  if (numTokens <= model.numTokens) return;
  const message = `The tokenizer has ${numTokens} tokens, and the model knows ${model.numTokens}: expected the tokenizer that the model was trained with. Name it with --tokenizer.`;
  throw new LockstepError('ERR_DATA_INVALID', message, { details: { numTokens, modelTokens: model.numTokens } });
}
