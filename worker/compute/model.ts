/** Makes a job's model: calls its function under seeded randomness, and adapts either kind to what a step needs. */
import type { LayersModel } from '@tensorflow/tfjs';
import { LockstepError, toLockstepError } from '../../src/errors.js';
import type { FunctionalModel, Job, ModelContext, ModelFunction } from '../../src/job/job.js';
import { adaptFunctionalModel } from './functional-model.js';
import { adaptLayersModel } from './layers-model.js';
import { withLora } from './lora-model.js';
import { freezeParameters } from './partly-frozen.js';
import { withSeededRandomAsync } from './random.js';
import type { ModelOptions, TrainableModel } from './trainable-model.js';

/** What of a job makes its model. */
export type ModelJob = Pick<Job, 'model'> & Partial<Pick<Job, 'freeze' | 'lora'>>;

/**
 * Calls the job's model function, with all randomness seeded, and adds its adapters.
 *
 * @throws LockstepError ERR_MODEL_INVALID; what a model of ours says of its files
 */
export async function makeModel(
  { model: create, freeze = [], lora }: ModelJob,
  options: ModelOptions,
): Promise<TrainableModel> {
  const { seed, baseDir = process.cwd() } = options;
  return withSeededRandomAsync({ purpose: 'model', seed }, async () => {
    let model = adapt(await callModelFunction(create, { baseDir }), options);
    try {
      if (lora) model = withLora(model, lora, options.tf);
      return freezeParameters(model, freeze);
    } catch (error) {
      model.dispose();
      throw error;
    }
  });
}

function adapt(model: unknown, options: ModelOptions): TrainableModel {
  if (isFunctionalModel(model)) return adaptFunctionalModel(model, options);
  if (isLayersModel(model)) return adaptLayersModel(model, options);
  throw new LockstepError(
    'ERR_MODEL_INVALID',
    `The job's model function returned ${describeValue(model)}: expected a tf.LayersModel (from tf.sequential, ` +
      `tf.model or tf.loadLayersModel), or an object { parameters, forward }.`,
  );
}

async function callModelFunction(create: ModelFunction, context: ModelContext): Promise<unknown> {
  try {
    return await create(context);
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    const { message } = toLockstepError(error);
    throw new LockstepError('ERR_MODEL_INVALID', `The job's model function failed: ${message}`, { cause: error });
  }
}

function isFunctionalModel(model: unknown): model is FunctionalModel {
  if (typeof model !== 'object' || model === null) return false;
  return 'parameters' in model && 'forward' in model && typeof model.forward === 'function';
}

/** By what is used of it, not by class: the job may hold another copy of tfjs-layers. */
function isLayersModel(model: unknown): model is LayersModel {
  if (typeof model !== 'object' || model === null) return false;
  return 'layers' in model && 'trainableWeights' in model && 'apply' in model;
}

function describeValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  const { name } = value.constructor;
  return `an object of class ${name} with ${Object.keys(value).slice(0, 5).join(', ')}`;
}
