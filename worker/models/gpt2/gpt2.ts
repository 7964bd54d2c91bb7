/** GPT-2 for job files: from a folder as Hugging Face saves it, or with random weights from a configuration. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Tensor } from '@tensorflow/tfjs';
import { LockstepError, toLockstepError } from '../../../src/errors.js';
import type { FunctionalModel, ModelContext } from '../../../src/job/job.js';
import { matchTensors } from '../../../src/state/name-map.js';
import { WeightFiles } from '../../checkpoint/weight-files.js';
import { tf } from '../../compute/tf.js';
import { parseConfig, type Gpt2Config, type Gpt2Shape } from './config.js';
import { forward } from './forward.js';
import { firstValue, nameMapOf, parametersOf } from './parameters.js';

export interface Gpt2Options {
  /** The part of the embeddings, of the attention and of each block's output that is dropped in training. @default the config's */
  readonly dropout?: number;
  /**
   * Computes each block once more in the backward pass instead of keeping what it computed, so that memory hardly grows with
   * the number of blocks; about 40% more time, and the same bits. @default false
   */
  readonly recompute?: boolean;
}

/** The folder's weights: in one file, or in several with an index. */
const weightFiles = ['model.safetensors', 'model.safetensors.index.json'] as const;

/**
 * A model function for `defineJob`: tokens [rows, tokens] in, logits [rows, tokens, vocabulary] out. Its loss is
 * 'sparseCategoricalCrossentropyFromLogits', and its data `text(…)`.
 *
 * @param source a folder with `config.json` and `model.safetensors` (or its index and shards), relative to the job file; or
 *   the fields of such a config, for random first weights
 * @example model: gpt2('gpt2'), loss: 'sparseCategoricalCrossentropyFromLogits'
 */
export function gpt2(
  source: string | Gpt2Config,
  options: Gpt2Options = {},
): (context: ModelContext) => Promise<FunctionalModel> {
  return async ({ baseDir }) => {
    if (typeof source !== 'string') {
      const shape = withOptions(parseConfig(source, 'The configuration in the job file'), options);
      const parameters = parametersOf(shape).map((parameter) => [parameter.name, firstValue(parameter)] as const);
      return toModel(shape, Object.fromEntries(parameters), options);
    }
    const folder = resolve(baseDir, source);
    const path = join(folder, 'config.json');
    const shape = withOptions(parseConfig(await readConfig(path), path), options);
    return toModel(shape, await readWeights(folder, shape), options);
  };
}

function withOptions(shape: Gpt2Shape, { dropout }: Gpt2Options): Gpt2Shape {
  if (dropout === undefined) return shape;
  return parseConfig(
    { ...shape, embd_pdrop: dropout, attn_pdrop: dropout, resid_pdrop: dropout },
    'With its dropout, this',
  );
}

function toModel(
  shape: Gpt2Shape,
  parameters: Readonly<Record<string, Tensor>>,
  { recompute = false }: Gpt2Options,
): FunctionalModel {
  return {
    numTokens: shape.vocab_size,
    maxRowTokens: shape.n_positions,
    parameters,
    forward: (weights, tokens, { training }) => forward({ shape, weights, training, recompute }, tokens),
  };
}

async function readConfig(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const { message } = toLockstepError(cause);
    throw new LockstepError(
      'ERR_MODEL_INVALID',
      `The GPT-2's configuration ${path} cannot be read: ${message}. Expected the folder of a model as Hugging Face saves ` +
        `it; relative paths start at the job file's folder.`,
      { cause, details: { path } },
    );
  }
}

/** The values of all parameters; all names and shapes are compared before one is read. */
async function readWeights(folder: string, shape: Gpt2Shape): Promise<Readonly<Record<string, Tensor>>> {
  const name = weightFiles.find((one) => existsSync(join(folder, one)));
  if (name === undefined) {
    throw new LockstepError('ERR_MODEL_INVALID', `${folder} has no weights: expected ${weightFiles.join(' or ')}.`, {
      details: { folder, expected: weightFiles },
    });
  }
  await using files = await WeightFiles.open(join(folder, name));
  const parameters = parametersOf(shape);
  const tensors = matchTensors(files.tensors, parameters, { nameOf: nameMapOf(shape), source: files.path });
  const values: Record<string, Tensor> = {};
  for (const [index, tensor] of tensors.entries()) {
    const parameter = parameters[index];
    if (parameter) values[parameter.name] = tf.tensor(await files.read(tensor), [...parameter.shape]);
  }
  return values;
}
