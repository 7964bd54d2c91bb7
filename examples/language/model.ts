/** The language model of this example and its data: a small GPT-2 that reads bytes. */
import { gpt2, text } from 'lockstep';

/** Bytes that the model sees at once. */
const blockTokens = 128;

/** 0.4 million parameters. */
export const model = gpt2(
  { vocab_size: 256, n_positions: blockTokens, n_embd: 96, n_layer: 3, n_head: 4 },
  { dropout: 0 },
);

/** A tenth of the blocks is held out, the same in every job. */
export function blocksOf(file: string) {
  const { train, validation } = text(file, { tokenizer: 'bytes', blockTokens }).split({ validation: 0.1 });
  return { train, validation };
}
