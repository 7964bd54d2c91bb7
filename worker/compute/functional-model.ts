/** A model of named tensors and a function, as a `TrainableModel`. All its parameters are trainable. */
import type { Tensor, Variable } from '@tensorflow/tfjs';
import { LockstepError } from '../../src/errors.js';
import type { FunctionalModel } from '../../src/job/job.js';
import type { Tfjs } from './engine/tfjs.js';
import type { TrainableModel } from './trainable-model.js';

/** Takes the model's tensors over: their values go into variables, and they are disposed. */
export function adaptFunctionalModel(model: FunctionalModel, { tf }: { readonly tf: Tfjs }): TrainableModel {
  const entries = Object.entries(model.parameters);
  const named = toVariables(tf, entries);
  const byName = Object.fromEntries(named.map(({ name, variable }) => [name, variable] as const));
  const variables = named.map(({ variable }) => variable);
  return {
    parameters: named.map(({ name, variable }) => ({ name, shape: variable.shape, trainable: true })),
    variables,
    numTokens: model.numTokens,
    maxRowTokens: model.maxRowTokens,
    forward: (x, training, replaced) => checkOutput(tf, model.forward({ ...byName, ...replaced }, x, { training })),
    penalties: () => [],
    forgetPass: () => undefined,
    dispose: () => tf.dispose(variables),
  };
}

interface NamedVariable {
  readonly name: string;
  readonly variable: Variable;
}

function toVariables(tf: Tfjs, entries: readonly (readonly [string, Tensor])[]): NamedVariable[] {
  try {
    checkParameters(entries);
    return entries.map(([name, tensor]) => ({ name, variable: tf.variable(tensor) }));
  } finally {
    tf.dispose(entries.map(([, tensor]) => tensor));
  }
}

function checkParameters(entries: readonly (readonly [string, Tensor])[]): void {
  if (entries.length === 0) {
    throw new LockstepError('ERR_MODEL_INVALID', 'The model has no parameters: there is nothing to train.');
  }
  for (const [name, tensor] of entries) {
    const { dtype } = tensor;
    if (dtype === 'float32') continue;
    throw new LockstepError('ERR_MODEL_INVALID', `The parameter "${name}" is ${dtype}: expected a float32 tensor.`, {
      details: { parameter: name, dtype },
    });
  }
}

function checkOutput(tf: Tfjs, output: unknown): Tensor {
  if (output instanceof tf.Tensor) return output as Tensor; // `instanceof` alone leaves the rank open, as any.
  throw new LockstepError(
    'ERR_MODEL_INVALID',
    `The model's forward function returned ${Array.isArray(output) ? 'an array' : typeof output}: expected one tensor.`,
  );
}
