/** A model of which the job trains a part: what it freezes has no gradient, and takes no part in the all-reduce. */
import { LockstepError } from '../../src/errors.js';
import { matchesAny, requireMatches } from '../../src/state/name-pattern.js';
import type { TrainableModel } from './trainable-model.js';

/**
 * Takes the model over.
 *
 * @param patterns of names; those that are not trainable anyway stay as they are
 * @throws LockstepError ERR_JOB_INVALID where a pattern matches nothing, or nothing is left to train
 */
export function freezeParameters(model: TrainableModel, patterns: readonly string[]): TrainableModel {
  if (patterns.length === 0) return model;
  const trainable = model.parameters.filter((one) => one.trainable).map(({ name }) => name);
  requireMatches('freeze', patterns, trainable);
  if (trainable.every((name) => matchesAny(patterns, name))) {
    const message = `freeze: ${patterns.map((pattern) => `"${pattern}"`).join(', ')} leaves nothing to train.`;
    throw new LockstepError('ERR_JOB_INVALID', message, { details: { patterns } });
  }
  const parts = model.parameters.flatMap((parameter, index) => {
    const variable = model.variables[index];
    const isTrained = parameter.trainable && !matchesAny(patterns, parameter.name);
    return variable ? [{ parameter: { ...parameter, trainable: isTrained }, variable }] : [];
  });
  const inOrder = [
    ...parts.filter(({ parameter }) => parameter.trainable),
    ...parts.filter(({ parameter }) => !parameter.trainable),
  ];
  return {
    ...model,
    parameters: inOrder.map(({ parameter }) => parameter),
    variables: inOrder.map(({ variable }) => variable),
  };
}
