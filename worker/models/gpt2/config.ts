/** The `config.json` of a GPT-2, as Hugging Face writes it: what of it is used, and what is refused. */
import { z } from 'zod';
import { LockstepError } from '../../../src/errors.js';

const rate = z.number().min(0).lt(1);

/** Whatever changes the numbers is here or is refused; the other fields (names, generation, …) are left. */
const configSchema = z
  .object({
    model_type: z.literal('gpt2').default('gpt2'),
    vocab_size: z.int().positive(),
    n_positions: z.int().positive(),
    n_embd: z.int().positive(),
    n_layer: z.int().positive(),
    n_head: z.int().positive(),
    n_inner: z.int().positive().nullable().default(null),
    activation_function: z.enum(['gelu_new', 'gelu_pytorch_tanh']).default('gelu_new'),
    layer_norm_epsilon: z.number().positive().default(1e-5),
    initializer_range: z.number().positive().default(0.02),
    embd_pdrop: rate.default(0.1),
    attn_pdrop: rate.default(0.1),
    resid_pdrop: rate.default(0.1),
    scale_attn_weights: z.boolean().default(true),
    scale_attn_by_inverse_layer_idx: z.boolean().default(false),
    add_cross_attention: z.literal(false).default(false),
    tie_word_embeddings: z.boolean().default(true),
  })
  .refine(({ n_embd, n_head }) => n_embd % n_head === 0, {
    error: 'n_embd must be a multiple of n_head',
    path: ['n_embd'],
  });

/** A GPT-2's shape, by Hugging Face's names; what is left out has the value that it has there. */
export type Gpt2Config = z.input<typeof configSchema>;

/** With its defaults. */
export type Gpt2Shape = z.output<typeof configSchema>;

/**
 * @param source where the configuration is from, for messages
 * @throws LockstepError ERR_MODEL_INVALID, naming each wrong field
 */
export function parseConfig(config: unknown, source: string): Gpt2Shape {
  const parsed = configSchema.safeParse(config);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => [path.map(String).join('.'), message].join(': '));
  throw new LockstepError('ERR_MODEL_INVALID', `${source} is not a GPT-2 that Lockstep has: ${problems.join('; ')}.`, {
    details: { source, problems },
  });
}
