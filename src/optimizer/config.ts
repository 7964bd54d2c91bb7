/**
 * Optimizers as a job describes them: plain data, validated by `optimizerSchema`, so that it can be compared between
 * workers, stored in a checkpoint and overridden with `--set`. The arithmetic is in src/kernels.
 */
import { z } from 'zod';
import { learningRateSchema } from './learning-rate.js';

const beta = z.number().min(0).lt(1);
const epsilon = z.number().positive();
const namePattern = z.string().min(1);

/** What all optimizers have. What is optional here changes nothing where it is left out. */
const common = {
  /** Whether each worker keeps the moments of a part of the parameters alone (ZeRO-1, arXiv:1910.02054). */
  sharded: z.boolean().default(false),
  /** What the learning rate is multiplied by, by pattern of names; the first that matches counts. */
  rateFactors: z.record(namePattern, z.number().positive()).optional(),
  /** The gradient of all trainable parameters together is scaled down to this Euclidean norm, where it is longer. */
  clipNorm: z.number().positive().optional(),
  /** The decay of an exponential moving average of the weights, which is kept beside them. */
  averageDecay: beta.optional(),
};

const adamSchema = z.strictObject({
  name: z.literal('adam'),
  learningRate: learningRateSchema.default(1e-3),
  beta1: beta.default(0.9),
  beta2: beta.default(0.999),
  epsilon: epsilon.default(1e-7),
  ...common,
});

const adamwSchema = z.strictObject({
  ...adamSchema.shape,
  name: z.literal('adamw'),
  weightDecay: z.number().min(0).default(0.01),
  /** Patterns of the names of parameters that do not decay. */
  noDecay: z.array(namePattern).optional(),
});

const sgdSchema = z.strictObject({
  name: z.literal('sgd'),
  learningRate: learningRateSchema.default(1e-2),
  momentum: beta.default(0),
  nesterov: z.boolean().default(false),
  ...common,
});

export const optimizerSchema = z.discriminatedUnion('name', [adamSchema, adamwSchema, sgdSchema]);

export type OptimizerConfig = z.output<typeof optimizerSchema>;
export type AdamConfig = z.output<typeof adamSchema>;
export type AdamWConfig = z.output<typeof adamwSchema>;
export type SgdConfig = z.output<typeof sgdSchema>;

/**
 * Adam (Kingma and Ba, 2015, arXiv:1412.6980): `p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.
 *
 * @param options learningRate (default 1e-3; a number, or `cosineRate(…)` and its like), beta1 (0.9), beta2 (0.999), epsilon
 *   (1e-7, as Keras has it), sharded (false): each worker keeps the moments of its part of the parameters alone; same bits
 */
export function adam(options: Partial<Omit<AdamConfig, 'name'>> = {}): AdamConfig {
  return { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, sharded: false, ...options, name: 'adam' };
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101): before Adam's step,
 * `p -= lr * weightDecay * p`.
 *
 * @param options as `adam`, weightDecay (default 0.01), and noDecay: patterns of the parameters that do not decay
 */
export function adamw(options: Partial<Omit<AdamWConfig, 'name'>> = {}): AdamWConfig {
  return { ...adam(), weightDecay: 0.01, ...options, name: 'adamw' };
}

/**
 * Stochastic gradient descent, as Keras has it: `v = momentum * v - lr * g; p += v`, and with Nesterov's correction
 * `p += momentum * v - lr * g`.
 *
 * @param options learningRate (default 1e-2), momentum (0), nesterov (false), sharded (false)
 */
export function sgd(options: Partial<Omit<SgdConfig, 'name'>> = {}): SgdConfig {
  return { learningRate: 1e-2, momentum: 0, nesterov: false, sharded: false, ...options, name: 'sgd' };
}
