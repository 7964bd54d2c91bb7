/** The LayersModel of a job with the weights of a checkpoint, for formats that have the model and not only its weights. */
import type { LayersModel } from '@tensorflow/tfjs';
import { LockstepError } from '../../src/errors.js';
import type { LoadedJob } from '../../src/job/loaded-job.js';
import type { FoundCheckpoint } from '../checkpoint/checkpoint-folder.js';
import { CheckpointWeights, withoutAdapters } from '../checkpoint/checkpoint-weights.js';
import { makeTrainedModel, type TrainedModelOptions } from '../inference/trained-model.js';

export interface LayersModelOptions extends Pick<TrainedModelOptions, 'tf' | 'log'> {
  readonly loaded: LoadedJob;
  readonly found: FoundCheckpoint;
}

/**
 * Hands the model, without adapters, to `use`, and disposes it.
 *
 * @throws LockstepError ERR_MODEL_INVALID for a model without layers; ERR_RESUME_MISMATCH for one of another job
 */
export async function withLayersModel<T>(
  { tf, log, loaded, found }: LayersModelOptions,
  use: (model: LayersModel) => Promise<T>,
): Promise<T> {
  const { job, baseDir } = loaded;
  const weights = new CheckpointWeights(withoutAdapters(found));
  const model = await makeTrainedModel({ tf, job: { model: job.model, seed: job.seed }, baseDir, weights, log });
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
