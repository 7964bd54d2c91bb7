/** The parameters of a GPT-2: their names, which are Hugging Face's, their shapes, and what they begin with. */
import type { Tensor } from '@tensorflow/tfjs';
import type { NameMap } from '../../../src/state/name-map.js';
import type { ParameterShape } from '../../../src/state/parameter.js';
import { tf } from '../../compute/tf.js';
import type { Gpt2Shape } from './config.js';

/** Names of the parameters outside of the blocks. */
export const names = {
  tokens: 'transformer.wte.weight',
  positions: 'transformer.wpe.weight',
  lastNorm: 'transformer.ln_f',
  head: 'lm_head.weight',
} as const;

/** Begins the names of a block's parameters. */
export function blockName(index: number): string {
  return `transformer.h.${index}`;
}

interface Gpt2Parameter extends ParameterShape {
  /** Standard deviation around 0; `ones` and `zeros` as they say. */
  readonly begins: number | 'ones' | 'zeros';
}

/** In the order in which PyTorch has them. Kernels are [in, out]. */
export function parametersOf(shape: Gpt2Shape): Gpt2Parameter[] {
  const { vocab_size, n_positions, n_embd, n_layer, initializer_range, tie_word_embeddings } = shape;
  return [
    { name: names.tokens, shape: [vocab_size, n_embd], begins: initializer_range },
    { name: names.positions, shape: [n_positions, n_embd], begins: initializer_range },
    ...Array.from({ length: n_layer }, (_, index) => blockParameters(index, shape)).flat(),
    ...normalization(names.lastNorm, n_embd),
    ...(tie_word_embeddings ? [] : [{ name: names.head, shape: [vocab_size, n_embd], begins: initializer_range }]),
  ];
}

function blockParameters(
  index: number,
  { n_embd, n_inner, n_layer, initializer_range }: Gpt2Shape,
): readonly Gpt2Parameter[] {
  const block = blockName(index);
  const inner = n_inner ?? 4 * n_embd;
  // Two projections of each block add to the residual stream (Radford et al., 2019, section 2.3).
  const residual = initializer_range / Math.sqrt(2 * n_layer);
  return [
    ...normalization(`${block}.ln_1`, n_embd),
    ...linear(`${block}.attn.c_attn`, [n_embd, 3 * n_embd], initializer_range),
    ...linear(`${block}.attn.c_proj`, [n_embd, n_embd], residual),
    ...normalization(`${block}.ln_2`, n_embd),
    ...linear(`${block}.mlp.c_fc`, [n_embd, inner], initializer_range),
    ...linear(`${block}.mlp.c_proj`, [inner, n_embd], residual),
  ];
}

function normalization(name: string, width: number): Gpt2Parameter[] {
  return [
    { name: `${name}.weight`, shape: [width], begins: 'ones' },
    { name: `${name}.bias`, shape: [width], begins: 'zeros' },
  ];
}

function linear(name: string, shape: readonly [number, number], begins: number): Gpt2Parameter[] {
  return [
    { name: `${name}.weight`, shape, begins },
    { name: `${name}.bias`, shape: [shape[1]], begins: 'zeros' },
  ];
}

/** Random first values, as Hugging Face draws them. */
export function firstValue({ shape, begins }: Gpt2Parameter): Tensor {
  if (begins === 'ones') return tf.ones([...shape]);
  if (begins === 'zeros') return tf.zeros([...shape]);
  return tf.randomNormal([...shape], 0, begins);
}

/** Masks that older versions of Hugging Face's library saved with the weights. */
const savedMask = /\.attn\.(masked_)?bias$/;

/**
 * From the names of a file to those of parameters. Files of the bare transformer, such as the first GPT-2's, have names
 * without its prefix; where embeddings are tied, a head in the file is the embeddings once more.
 */
export function nameMapOf({ tie_word_embeddings }: Gpt2Shape): NameMap {
  return (name) => {
    if (savedMask.test(name)) return null;
    if (name === names.head) return tie_word_embeddings ? null : name;
    return name.startsWith('transformer.') ? name : `transformer.${name}`;
  };
}
