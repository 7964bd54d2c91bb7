/** A job's model with weights from a file, outside of a run. */
import type { Batch } from '../../src/job/dataset.js';
import type { Job } from '../../src/job/job.js';
import type { Log } from '../../src/log.js';
import type { ParameterShape } from '../../src/state/parameter.js';
import type { Tfjs } from '../compute/engine/tfjs.js';
import { makeModel, type ModelJob } from '../compute/model.js';
import type { TrainableModel } from '../compute/trainable-model.js';

/** A checkpoint, or what a job begins with. */
export interface WeightSource {
  /** Each parameter that it has, with its values. */
  read<P extends ParameterShape>(parameters: readonly P[]): AsyncIterable<readonly [P, Float32Array]>;
}

export interface TrainedModelOptions {
  readonly tf: Tfjs;
  readonly job: ModelJob & Pick<Job, 'seed'>;
  /** Where the job's relative paths start. */
  readonly baseDir: string;
  /** null: the model's own. */
  readonly weights: WeightSource | null;
  readonly log: Log;
  /** Gives the input's shape to a model that has none. */
  readonly sample?: Batch;
}

/** @throws LockstepError ERR_MODEL_INVALID, and what the weights' source says of another model */
export async function makeTrainedModel(options: TrainedModelOptions): Promise<TrainableModel> {
  const { tf, job, baseDir, weights, log, sample } = options;
  const model = await makeModel(job, { tf, seed: job.seed, log, baseDir, ...(sample && { sample }) });
  try {
    const variables = new Map(model.parameters.map((parameter, index) => [parameter, model.variables[index]]));
    for await (const [parameter, values] of weights?.read(model.parameters) ?? []) {
      tf.tidy(() => variables.get(parameter)?.assign(tf.tensor(values, [...parameter.shape])));
    }
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}
