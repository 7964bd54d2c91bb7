/** The LayersModel of a job with the weights of a checkpoint, for formats that have the model and not only its weights. */
import type { LayersModel } from '@tensorflow/tfjs';
import { LockstepError } from '../../src/errors.js';
import { makeTrainedModel, type TrainedModelOptions } from '../inference/trained-model.js';

/** Hands the model to `use`, and disposes it. @throws LockstepError ERR_MODEL_INVALID for a model without layers */
export async function withLayersModel<T>(
  options: TrainedModelOptions,
  use: (model: LayersModel) => Promise<T>,
): Promise<T> {
  const model = await makeTrainedModel(options);
  try {
    if (model.layersModel) return await use(model.layersModel);
    throw new LockstepError(
      'ERR_MODEL_INVALID',
      `The job's model is a function of named tensors, and this format is for models of layers. Use --format safetensors.`,
    );
  } finally {
    model.dispose();
  }
}
