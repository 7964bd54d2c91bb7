/**
 * `defineJob` and its schema: what a job file may say, and what a wrong one is told. A job is the same value in the
 * coordinator and in every worker; what of it is plain data (`JobConfig`) is compared between them.
 */
import type { LayersModel, Tensor } from '@tensorflow/tfjs';
import { z } from 'zod';
import { wireFormats, type WireFormat } from '../collective/wire.js';
import { LockstepError } from '../errors.js';
import { optimizerSchema } from '../optimizer/config.js';
import { misfitOfRate } from '../optimizer/learning-rate.js';
import { loraSchema } from '../state/lora.js';
import { bestSchema, misfitOfBest } from './best.js';
import type { Augment, DataSource, Dataset } from './dataset.js';
import { initialWeightsSchema, type InitialWeightsDefinition } from './initial-weights.js';

/** A model without layers: named initial values and a function of them. */
export interface FunctionalModel {
  /** Where inputs are tokens: how many the model knows. Each batch is checked: a GPU would take a row of zeros for others. */
  readonly numTokens?: number;
  /** Where inputs are tokens: how many a row has at most. */
  readonly maxRowTokens?: number;
  /** Initial values, in the order of the flat state; made when the model is made. All are trainable. */
  readonly parameters: Readonly<Record<string, Tensor>>;
  /**
   * The model's output for input `x`. Runs inside `tf.tidy`.
   *
   * @param parameters as named in `parameters`, same shapes
   * @param x one batch, [rows, …]
   */
  forward(parameters: Readonly<Record<string, Tensor>>, x: Tensor, context: { readonly training: boolean }): Tensor;
}

export type Model = LayersModel | FunctionalModel;

/** What a model function is told of the job that it belongs to. */
export interface ModelContext {
  /** Folder of the job file: relative paths start there. */
  readonly baseDir: string;
}

export type ModelFunction = (context: ModelContext) => Model | Promise<Model>;

/** Loss or metric of a batch, from what the rows hold and what the model said; a scalar, or a value per row. */
export type BatchFunction = (yTrue: Tensor, yPred: Tensor) => Tensor;

const functionSchema = <T>(what: string) => z.custom<T>((value) => typeof value === 'function', `expected ${what}`);

const batchFunctionSchema = z.union(
  [z.string().min(1), functionSchema<BatchFunction>('a function')],
  'expected a name, or a function (yTrue, yPred) => Tensor',
);

const dataSchema = z.custom<DataSource | Dataset>((value) => {
  if (typeof value !== 'object' || value === null) return false;
  if ('open' in value) return typeof value.open === 'function';
  return 'length' in value && typeof value.length === 'number' && 'read' in value && typeof value.read === 'function';
}, 'expected a data source such as csv(…), or an object { length, read(indices) }');

export const jobSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected 1 to 64 letters, digits, ".", "_" or "-"'),
  model: functionSchema<ModelFunction>('a function that makes the model: () => tf.sequential(…)'),
  loss: batchFunctionSchema,
  metrics: z.array(batchFunctionSchema).default([]),
  data: z.strictObject({
    train: dataSchema,
    validation: dataSchema.optional(),
    augment: functionSchema<Augment>('a function (row, random) => ({ x?, y? })').optional(),
    serve: z.boolean().default(false),
  }),
  labelSmoothing: z.number().min(0).lt(1).default(0),
  freeze: z.array(z.string().min(1)).default([]),
  lora: loraSchema.optional(),
  optimizer: optimizerSchema,
  batchSize: z.int().positive(),
  epochs: z.int().positive().default(1),
  steps: z.int().positive().optional(),
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  shuffle: z.boolean().default(true),
  lastBatch: z.enum(['drop', 'keep']).default('drop'),
  slots: z.int().positive().max(4096).optional(),
  microBatches: z.int().positive().default(1),
  threads: z.int().positive().max(1024).optional(),
  compile: z.boolean().default(true),
  wire: z.enum(wireFormats).default('float32'),
  precision: z.enum(['float32', 'bfloat16', 'float16']).default('float32'),
  initialWeights: initialWeightsSchema.optional(),
  onNotFinite: z.enum(['stop', 'skip']).default('stop'),
  verifyEverySteps: z.int().min(0).default(1000),
  stragglers: z.strictObject({ evictAfterSeconds: z.number().positive() }).optional(),
  checkpointEverySteps: z.int().positive().optional(),
  checkpointEverySeconds: z.number().positive().optional(),
  checkpointsKept: z.int().positive().default(3),
  best: bestSchema.optional(),
});

/** A validated job, with its defaults filled in. */
export type Job = z.output<typeof jobSchema>;

/** What a job file says. */
export interface JobDefinition {
  /** Letters, digits, ".", "_", "-"; names the run directory. */
  readonly name: string;
  /** Makes the model: your own function, or `gpt2(…)`. Called once in each worker, with all randomness seeded by `seed`. */
  readonly model: ModelFunction;
  /** A Keras name ("sparseCategoricalCrossentropy") or a function. */
  readonly loss: string | BatchFunction;
  /** Keras names ("accuracy") or named functions. @default [] */
  readonly metrics?: readonly (string | BatchFunction)[];
  readonly data: {
    readonly train: DataSource | Dataset;
    /** Evaluated after each epoch. */
    readonly validation?: DataSource | Dataset;
    /** Changes each row at random each time it is trained on, in the worker that computes it. */
    readonly augment?: Augment;
    /** Workers fetch rows from the coordinator instead of opening the data themselves. @default false */
    readonly serve?: boolean;
  };
  /**
   * The part of each label that is shared out over all classes; for cross-entropies that are named. @default 0
   */
  readonly labelSmoothing?: number;
  /** Patterns of the names of parameters that keep their values; `*` stands for any characters. @default [] */
  readonly freeze?: readonly string[];
  /**
   * Low-rank adapters (arXiv:2106.09685): of the matrices that `targets` names none is trained, but two small ones for each, of
   * which `alpha / rank` times the product is added to it; and what `train` names.
   */
  readonly lora?: {
    readonly rank: number;
    readonly alpha: number;
    readonly targets: readonly string[];
    /** @default [] */
    readonly train?: readonly string[];
  };
  /** `adam()`, `adamw()` or `sgd()`. */
  readonly optimizer: z.input<typeof optimizerSchema>;
  /** Rows per step over all workers together; at least the number of slots. */
  readonly batchSize: number;
  /** Passes over the data. @default 1 */
  readonly epochs?: number;
  /** Ends the run after this many steps, if that is before the last epoch ends. */
  readonly steps?: number;
  /** Seed of the order of rows, of the initial weights and of dropout; 0 to 2^32 - 1. @default 0 */
  readonly seed?: number;
  /** A new order of rows each epoch; `false`: file order. @default true */
  readonly shuffle?: boolean;
  /** What becomes of an epoch's last rows when they do not fill a batch. @default 'drop' */
  readonly lastBatch?: 'drop' | 'keep';
  /** Parts of the global batch that workers share out; fixed for the run. @default the workers it starts with */
  readonly slots?: number;
  /**
   * Parts in which each slot's gradient is computed, one after the other, for batches that do not fit in a device's memory
   * at once; part of the numbers. @default 1
   */
  readonly microBatches?: number;
  /** TensorFlow threads per worker; part of the numbers. @default max(1, cores ÷ slots) of the coordinator's machine */
  readonly threads?: number;
  /** Runs each step as one TensorFlow graph where that gives the same bits; `false`: op by op. @default true */
  readonly compile?: boolean;
  /** How gradients travel; `bfloat16`: half the bytes, rounded alike for any number of workers. @default 'float32' */
  readonly wire?: WireFormat;
  /** What the engine computes in. TensorFlow.js has no type of 16 bits: others than `float32` are refused. @default 'float32' */
  readonly precision?: 'float32' | 'bfloat16' | 'float16';
  /**
   * A safetensors file with the first weights, or the index of several (`….index.json`), relative to the job file; with
   * `{ file, names, own }` where its names are not the model's. @default the model's own
   */
  readonly initialWeights?: string | InitialWeightsDefinition;
  /**
   * What becomes of a step whose loss or gradient is NaN or infinite: the run stops, before the weights are touched, or the
   * step leaves weights and moments as they were. @default 'stop'
   */
  readonly onNotFinite?: 'stop' | 'skip';
  /** Workers compare a hash of their weights and moments every so many steps; 0: never. @default 1000 */
  readonly verifyEverySteps?: number;
  /**
   * A worker that has been slower than the others for so long, one and a half times at least, is evicted, and replaced where
   * that is possible; not where too few would be left. @default it is named, and stays
   */
  readonly stragglers?: { readonly evictAfterSeconds: number };
  /** Checkpoints inside an epoch too. @default only at each epoch's end */
  readonly checkpointEverySteps?: number;
  /** A checkpoint when so many seconds have passed since the last one. @default as steps and epochs have it */
  readonly checkpointEverySeconds?: number;
  /** Older checkpoints are deleted. @default 3 */
  readonly checkpointsKept?: number;
  /**
   * The checkpoint of the epoch with the best validation stays as `best.safetensors`; with `patience`, the run ends one step after so
   * many epochs in a row were no better.
   */
  readonly best?: {
    /** Such as "val_loss" or "val_accuracy". */
    readonly metric: string;
    /** @default of the loss and of metrics by name what each is better for; a function as metric has none */
    readonly mode?: 'min' | 'max';
    /** What is better by no more counts as no better. @default 0 */
    readonly minDelta?: number;
    /** Epochs. @default no limit */
    readonly patience?: number;
  };
}

/** Under this key, a definition says which copy of Lockstep made it. */
const madeBy = Symbol.for('lockstep.madeBy');

/**
 * Declares the training that a job file stands for; its default export.
 *
 * @throws LockstepError ERR_JOB_INVALID, naming each wrong field
 */
export function defineJob(definition: JobDefinition): JobDefinition {
  parseJob(definition);
  return Object.defineProperty({ ...definition }, madeBy, { value: import.meta.url });
}

/**
 * Refuses what another copy of Lockstep made: its `tf` is another tfjs than the engine's, and what that draws is not
 * seeded here, so the run would have other bits without a word.
 *
 * @throws LockstepError ERR_JOB_LOAD
 */
export function requireOwnJob(definition: unknown): void {
  const maker: unknown = typeof definition === 'object' && definition !== null && Reflect.get(definition, madeBy);
  if (maker === import.meta.url) return;
  const found =
    typeof maker === 'string' ? `is made by another copy of Lockstep, ${maker},` : 'is not made by defineJob,';
  throw new LockstepError(
    'ERR_JOB_LOAD',
    `The job ${found} and this command is ${import.meta.url}. Write "export default defineJob({ … })", and run the ` +
      'lockstep command of the folder that the job imports from (npx lockstep).',
  );
}

/** Validates a definition and fills in its defaults. */
export function parseJob(definition: unknown): Job {
  const parsed = jobSchema.safeParse(definition);
  const problems = parsed.success
    ? misfitsOf(parsed.data)
    : parsed.error.issues.map((issue) => `${issue.path.map(String).join('.') || 'job'}: ${issue.message}`);
  if (parsed.success && problems.length === 0) return parsed.data;
  throw new LockstepError('ERR_JOB_INVALID', `The job is not valid: ${problems.join('; ')}`, { details: { problems } });
}

/** Fields that do not go together. */
function misfitsOf({ optimizer, best, data, precision, ...job }: Job): string[] {
  const ofShares = optimizer.sharded ? unfitForShares(job) : null;
  const ofValidation = best && !data.validation ? 'best: nothing is validated; give data.validation' : null;
  const ofBest = best ? misfitOfBest(best, job.metrics) : null;
  // Which one is the best is known once the next may be there.
  const ofKept =
    best && job.checkpointsKept < 2 ? 'checkpointsKept: the best may be the last but one; keep 2 at least' : null;
  const ofPrecision =
    precision === 'float32'
      ? null
      : `precision: TensorFlow.js has no type of 16 bits, so the engine cannot compute in ${precision}; use 'float32' (wire: 'bfloat16' halves what travels)`;
  const ofRate = misfitOfRate(optimizer.learningRate);
  return [ofShares, ofValidation, ofBest, ofKept, ofRate, ofPrecision].filter((problem) => problem !== null);
}

function unfitForShares({ stragglers, checkpointsKept }: Pick<Job, 'stragglers' | 'checkpointsKept'>): string | null {
  // One that is being written as a worker is lost must not take the place of the one that the others go back to.
  if (checkpointsKept < 2) {
    return 'checkpointsKept: a run with a sharded optimizer goes back to a checkpoint where a worker is lost; keep 2 at least';
  }
  if (!stragglers) return null;
  return 'stragglers: a worker with a share of the optimizer cannot be evicted; leave it out, or use sharded: false';
}
