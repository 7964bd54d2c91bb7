/** What a training step needs of a model, whichever kind it is: named variables in a fixed order, and a forward pass. */
import type { LayersModel, Scalar, Tensor, Variable } from '@tensorflow/tfjs';
import { assert } from '../../src/errors.js';
import type { Batch } from '../../src/job/dataset.js';
import type { Log } from '../../src/log.js';
import type { ParameterSpec } from '../../src/state/parameter.js';
import type { Tfjs } from './engine/tfjs.js';

/** A model as the training step sees it. */
export interface TrainableModel {
  /** Trainable ones first, each group in the model's order. */
  readonly parameters: readonly ParameterSpec[];
  /** The float32 variable behind each parameter, same order. Whoever runs a pass assigns them first. */
  readonly variables: readonly Variable[];
  /** Where inputs are tokens: how many there are. */
  readonly numTokens?: number | undefined;
  /** Where inputs are tokens: how many a row has at most. */
  readonly maxRowTokens?: number | undefined;
  /** Where it is one of layers: the model itself, for whoever saves it. */
  readonly layersModel?: LayersModel | undefined;
  /**
   * The output, [rows, …]. May assign variables that are not trainable.
   *
   * @param replaced by name, what takes the place of parameters in this pass, of the same shape. @default none
   * @throws LockstepError ERR_MODEL_INVALID where `x` does not fit the model
   */
  forward(x: Tensor, training: boolean, replaced?: Readonly<Record<string, Tensor>>): Tensor;
  /** What regularizers add to the training loss. */
  penalties(): Scalar[];
  /** Drops what a pass leaves in the model besides its variables, so that the next pass cannot depend on it. */
  forgetPass(): void;
  dispose(): void;
}

/** What making one takes. */
export interface ModelOptions {
  readonly tf: Tfjs;
  readonly seed: number;
  readonly log: Log;
  /** Gives the input's shape to a model that has none. @default the model has one */
  readonly sample?: Batch;
  /** Where the job's relative paths start. @default the working directory */
  readonly baseDir?: string;
}

/** Gives each variable of a model its values, in the order of `parameters`. */
export function assignVariables(tf: Tfjs, model: TrainableModel, values: readonly Float32Array[]): void {
  model.variables.forEach((variable, index) => {
    const its = values[index];
    assert(its !== undefined, `Parameter ${index} has no weights`);
    variable.assign(tf.tensor(its, variable.shape, 'float32'));
  });
}
