/** A job's model with the weights of a checkpoint, outside of a run. */
import { LockstepError } from '../../src/errors.js';
import type { LoadedJob } from '../../src/job/loaded-job.js';
import type { Batch } from '../../src/job/dataset.js';
import type { Log } from '../../src/log.js';
import { MOMENT_PREFIX } from '../../src/state/layout.js';
import { matchTensors } from '../../src/state/name-map.js';
import type { ParameterShape } from '../../src/state/parameter.js';
import { WeightFiles } from '../checkpoint/weight-files.js';
import type { Tfjs } from '../compute/engine/tfjs.js';
import { makeModel } from '../compute/model.js';
import type { TrainableModel } from '../compute/trainable-model.js';

export interface TrainedModelOptions {
  readonly tf: Tfjs;
  readonly loaded: LoadedJob;
  /** Path of a checkpoint. */
  readonly checkpoint: string;
  readonly log: Log;
  /** Gives the input's shape to a model that has none. */
  readonly sample?: Batch;
}

/** @throws LockstepError ERR_MODEL_INVALID, ERR_RESUME_MISMATCH where the checkpoint is of another model */
export async function makeTrainedModel(options: TrainedModelOptions): Promise<TrainableModel> {
  const { tf, loaded, checkpoint, log, sample } = options;
  const { job, baseDir } = loaded;
  const model = await makeModel(job, { tf, seed: job.seed, log, baseDir, ...(sample && { sample }) });
  try {
    const values = await readParameters(checkpoint, model.parameters);
    tf.tidy(() => {
      for (const [index, variable] of model.variables.entries()) {
        variable.assign(tf.tensor(values[index] ?? [], variable.shape));
      }
    });
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * The values of a checkpoint's parameters, in the order given.
 *
 * @throws LockstepError ERR_RESUME_MISMATCH with all that differs
 */
export async function readParameters(path: string, parameters: readonly ParameterShape[]): Promise<Float32Array[]> {
  await using files = await WeightFiles.open(path);
  const nameOf = (name: string): string | null => (name.startsWith(MOMENT_PREFIX) ? null : name);
  const values: Float32Array[] = [];
  for (const tensor of refusedAs(() => matchTensors(files.tensors, parameters, { nameOf, source: path }))) {
    values.push(await files.read(tensor));
  }
  return values;
}

function refusedAs<T>(match: () => T): T {
  try {
    return match();
  } catch (thrown) {
    if (!(thrown instanceof LockstepError)) throw thrown;
    const message = `The checkpoint is of another model than the job's. ${thrown.message}`;
    throw new LockstepError('ERR_RESUME_MISMATCH', message, { cause: thrown, details: thrown.details });
  }
}
