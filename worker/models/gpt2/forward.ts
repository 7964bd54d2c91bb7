/**
 * The forward pass of GPT-2 (Radford et al., 2019): learned positions, blocks of causal attention and of two dense layers
 * with normalization before each, and a head that is the embedding of tokens again. All rows of all sequences lie in one
 * matrix, [rows · tokens, width], except inside attention.
 */
import type { Tensor } from '@tensorflow/tfjs';
import { assert, LockstepError } from '../../../src/errors.js';
import { recomputed } from '../../compute/recomputation.js';
import { tf } from '../../compute/tf.js';
import { geluTanh, lookUp, normalizeRows } from '../../compute/transformer-ops.js';
import type { Gpt2Shape } from './config.js';
import { blockName, names } from './parameters.js';

export interface PassContext {
  readonly shape: Gpt2Shape;
  readonly weights: Readonly<Record<string, Tensor>>;
  readonly training: boolean;
  /** Of each block only its input is kept for the backward pass. */
  readonly recompute: boolean;
}

/** Tokens [rows, tokens] → logits [rows, tokens, vocabulary] of each next token. */
export function forward(context: PassContext, tokens: Tensor): Tensor {
  const { shape } = context;
  const [numRows = 0, numTokens = 0] = checkTokens(tokens, shape);
  const mask = causalMask(numTokens);
  let x = embed(context, tokens);
  const run = context.recompute && context.training ? recomputedBlock : block; // else there is no backward pass
  for (let index = 0; index < shape.n_layer; index++) x = run(context, x, { index, numRows, numTokens, mask });
  const table = weight(context, shape.tie_word_embeddings ? names.tokens : names.head);
  const logits = tf.matMul(normalize(context, names.lastNorm, x), table, false, true);
  return tf.reshape(logits, [numRows, numTokens, shape.vocab_size]);
}

function checkTokens(tokens: Tensor, { n_positions }: Gpt2Shape): readonly number[] {
  const [, numTokens = 0] = tokens.shape;
  if (tokens.rank === 2 && numTokens <= n_positions) return tokens.shape;
  throw new LockstepError(
    'ERR_MODEL_INVALID',
    `The data's inputs have the shape [${tokens.shape.join(', ')}], and the model takes [rows, tokens] with at most ` +
      `${n_positions} tokens in a row. Read texts with text(…), and give it fewer blockTokens.`,
    { details: { found: tokens.shape, positions: n_positions } },
  );
}

/** The vector of each token plus that of its position. */
function embed(context: PassContext, tokens: Tensor): Tensor {
  const { n_embd, embd_pdrop } = context.shape;
  const [numRows = 0, numTokens = 0] = tokens.shape;
  const rows = tf.reshape(tf.cast(tokens, 'int32'), [-1]);
  const vectors = tf.reshape(lookUp(tf, weight(context, names.tokens), rows), [numRows, numTokens, n_embd]);
  const positions = tf.slice(weight(context, names.positions), [0, 0], [numTokens, n_embd]);
  return dropOut(context, tf.reshape(tf.add(vectors, positions), [-1, n_embd]), embd_pdrop);
}

interface BlockContext {
  readonly index: number;
  readonly numRows: number;
  readonly numTokens: number;
  readonly mask: Tensor;
}

function block(context: PassContext, x: Tensor, its: BlockContext): Tensor {
  const { resid_pdrop } = context.shape;
  const name = blockName(its.index);
  const attended = attend(context, linear(context, `${name}.attn.c_attn`, normalize(context, `${name}.ln_1`, x)), its);
  const y = tf.add(x, dropOut(context, linear(context, `${name}.attn.c_proj`, attended), resid_pdrop));
  const inner = geluTanh(tf, linear(context, `${name}.mlp.c_fc`, normalize(context, `${name}.ln_2`, y)));
  return tf.add(y, dropOut(context, linear(context, `${name}.mlp.c_proj`, inner), resid_pdrop));
}

function recomputedBlock(context: PassContext, x: Tensor, its: BlockContext): Tensor {
  const prefix = `${blockName(its.index)}.`;
  const own = Object.keys(context.weights).filter((name) => name.startsWith(prefix));
  return recomputed(tf, {
    activations: [x],
    weights: own.map((name) => weight(context, name)),
    constants: [its.mask],
    compute: ({ activations, weights, constants }) => {
      const named = Object.fromEntries(own.map((name, at) => [name, nth(weights, at)]));
      return block({ ...context, weights: named }, nth(activations, 0), { ...its, mask: nth(constants, 0) });
    },
  });
}

/** Attention of several heads, from their queries, keys and values side by side: [n, 3 · width] → [n, width]. */
function attend(context: PassContext, x: Tensor, { index, numRows, numTokens, mask }: BlockContext): Tensor {
  const { n_embd, n_head, scale_attn_weights, scale_attn_by_inverse_layer_idx, attn_pdrop } = context.shape;
  const size = n_embd / n_head;
  const toHeads = (part: Tensor): Tensor =>
    tf.transpose(tf.reshape(part, [numRows, numTokens, n_head, size]), [0, 2, 1, 3]);
  const [q, k, v] = tf.split(x, 3, -1).map(toHeads);
  assert(q && k && v, 'A split in 3 has 3 parts');
  const scale = (scale_attn_weights ? 1 / Math.sqrt(size) : 1) / (scale_attn_by_inverse_layer_idx ? index + 1 : 1);
  const attention = tf.softmax(tf.add(tf.matMul(tf.mul(q, scale), k, false, true), mask));
  const heads = tf.matMul(dropOut(context, attention, attn_pdrop), v);
  return tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [-1, n_embd]);
}

/** [tokens, tokens] to be added to scores: 0 for what is past, and far below any score for what is to come. */
function causalMask(numTokens: number): Tensor {
  const values = new Float32Array(numTokens ** 2);
  for (let token = 0; token < numTokens; token++)
    values.fill(-1e9, token * numTokens + token + 1, (token + 1) * numTokens);
  return tf.tensor2d(values, [numTokens, numTokens]);
}

function normalize(context: PassContext, name: string, x: Tensor): Tensor {
  const [scale, shift] = [weight(context, `${name}.weight`), weight(context, `${name}.bias`)];
  return normalizeRows(tf, x, { scale, shift, epsilon: context.shape.layer_norm_epsilon });
}

function linear(context: PassContext, name: string, x: Tensor): Tensor {
  return tf.add(tf.matMul(x, weight(context, `${name}.weight`)), weight(context, `${name}.bias`));
}

function dropOut({ training }: PassContext, x: Tensor, rate: number): Tensor {
  return training && rate > 0 ? tf.dropout(x, rate) : x;
}

function nth(tensors: readonly Tensor[], index: number): Tensor {
  const tensor = tensors[index];
  assert(tensor, `A block was given ${tensors.length} tensors, and takes number ${index}`);
  return tensor;
}

function weight({ weights }: PassContext, name: string): Tensor {
  const tensor = weights[name];
  assert(tensor, `GPT-2 has no parameter "${name}"`);
  return tensor;
}
