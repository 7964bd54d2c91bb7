/**
 * A tfjs LayersModel as a `TrainableModel`. Refuses what would make a step depend on the steps before it (stateful
 * recurrent layers, layers that count a seed up), and undoes what tfjs leaves behind (dropout masks of recurrent cells).
 */
import type { LayersModel, Tensor, Variable } from '@tensorflow/tfjs';
import { assert, LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { ParameterSpec } from '../../src/state/parameter.js';
import { atLeastTwoDimensions, formatShape } from './batch.js';
import type { Tfjs } from './engine/tfjs.js';
import { collectLayers, type Layer as LayerOfTree } from './layer-tree.js';
import { nameParameters } from './parameter-names.js';
import type { ModelOptions, TrainableModel } from './trainable-model.js';

type LayerVariable = LayersModel['trainableWeights'][number];

/** What layers may hold besides their public members: randomness, and what it leaves behind. */
interface Randomness {
  readonly seed?: number | null;
  readonly randomGenerator?: { readonly seed?: number | null };
  dropoutMask?: Tensor | Tensor[] | null;
  recurrentDropoutMask?: Tensor | Tensor[] | null;
}

type Layer = LayerOfTree & Randomness;

/** Takes the model over: it is disposed with the result, or if it cannot be trained. */
export function adaptLayersModel(model: LayersModel, options: ModelOptions): TrainableModel {
  try {
    return adapt(model, options);
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function adapt(model: LayersModel, { tf, log, sample }: ModelOptions): TrainableModel {
  if (!model.built)
    model.build(sample ? [null, ...atLeastTwoDimensions(sample.x.shape).slice(1)] : (model.inputs[0]?.shape ?? []));
  const allLayers = collectLayers(model);
  checkInputsAndOutputs(model);
  checkPurity(allLayers);
  const weights = collectWeights(model);
  warnOfTfjsBehaviour(allLayers, weights, log);
  const variables = weights.variables.map((weight) => toVariable(tf, weight));
  return {
    parameters: weights.parameters,
    variables,
    layersModel: model,
    forward: (x, training, replaced = {}) => withReplaced(weights, replaced, () => forward(tf, model, x, training)),
    penalties: () => model.calculateLosses(),
    forgetPass: () => forgetDropoutMasks(tf, allLayers),
    dispose: () => {
      model.dispose();
      // tfjs leaves the weights of a layer that was applied more than once.
      tf.dispose(variables.filter((variable) => !variable.isDisposed));
    },
  };
}

function forward(tf: Tfjs, model: LayersModel, x: Tensor, training: boolean): Tensor {
  const expected = model.inputs[0]?.shape ?? [];
  const fits =
    x.rank === expected.length && expected.every((extent, axis) => (extent ?? x.shape[axis]) === x.shape[axis]);
  if (!fits) {
    throw new LockstepError(
      'ERR_MODEL_INVALID',
      `The data's inputs have the shape ${formatShape(x.shape)}, and the model takes ${formatShape(expected)}. Change ` +
        `the inputShape of its first layer, or the data.`,
      { details: { found: x.shape, expected } },
    );
  }
  // A fresh object each time: tfjs writes masks into it.
  const output = model.apply(x, { training });
  if (output instanceof tf.Tensor) return output;
  throw new LockstepError('ERR_INTERNAL', 'The model gave no tensor for a tensor.');
}

/** Layers read a weight through its `read`: for the time of a pass it gives what takes the weight's place. */
function withReplaced<T>(
  { parameters, variables }: Weights,
  replaced: Readonly<Record<string, Tensor>>,
  pass: () => T,
): T {
  const changed = Object.entries(replaced).flatMap(([name, tensor]) => {
    const weight = variables[parameters.findIndex((parameter) => parameter.name === name)];
    return weight ? [Object.assign(weight, { read: () => tensor })] : [];
  });
  try {
    return pass();
  } finally {
    for (const weight of changed) Reflect.deleteProperty(weight, 'read');
  }
}

function checkInputsAndOutputs(model: LayersModel): void {
  if (model.inputs.length === 1 && model.outputs.length === 1) return;
  throw new LockstepError(
    'ERR_MODEL_INVALID',
    `The model has ${model.inputs.length} inputs and ${model.outputs.length} outputs: expected one of each. Join them ` +
      `with tf.layers.concatenate, or write the model as { parameters, forward }.`,
    { details: { inputs: model.inputNames, outputs: model.outputNames } },
  );
}

function checkPurity(allLayers: readonly Layer[]): void {
  for (const layer of allLayers) {
    if (layer.stateful && layer.layers === undefined) {
      throw new LockstepError(
        'ERR_MODEL_INVALID',
        `The layer "${layer.name}" is stateful: it carries values from one batch to the next, and a step must depend on ` +
          `nothing but its batch and the weights. Leave out stateful: true.`,
        { details: { layer: layer.name } },
      );
    }
    if (typeof layer.randomGenerator?.seed === 'number') {
      throw new LockstepError(
        'ERR_MODEL_INVALID',
        `The layer "${layer.name}" counts its own seed up at each call, so its randomness depends on what its worker ran ` +
          `before. Leave out its seed: the job's seed covers it.`,
        { details: { layer: layer.name } },
      );
    }
  }
}

interface Weights {
  readonly parameters: readonly ParameterSpec[];
  readonly variables: readonly LayerVariable[];
}

/** Each weight once, also where layers are shared. */
function collectWeights(model: LayersModel): Weights {
  const trainable = new Set(model.trainableWeights);
  const all = [...new Set([...trainable, ...model.nonTrainableWeights])];
  checkWeights(all, trainable.size);
  const names = nameParameters(all.map((weight) => weight.originalName));
  const parameters = all.map((weight, index) => ({
    name: names[index] ?? weight.name,
    shape: weight.read().shape,
    trainable: trainable.has(weight),
  }));
  return { parameters, variables: all };
}

/** LayerVariable.read() is typed as a Tensor; tfjs's own training loop relies on it being a Variable, too. */
function toVariable(tf: Tfjs, weight: LayerVariable): Variable {
  const value: Tensor = weight.read();
  assert(value instanceof tf.Variable, `The weight "${weight.originalName}" is not a variable`);
  return value as Variable; // `instanceof` alone leaves the rank open, as any.
}

function checkWeights(weights: readonly LayerVariable[], numTrainable: number): void {
  if (numTrainable === 0) {
    throw new LockstepError('ERR_MODEL_INVALID', 'The model has no trainable weights: there is nothing to train.');
  }
  for (const weight of weights) {
    const { dtype } = weight.read();
    if (dtype === 'float32') continue;
    throw new LockstepError('ERR_MODEL_INVALID', `The weight "${weight.originalName}" is ${dtype}: expected float32.`, {
      details: { parameter: weight.originalName, dtype },
    });
  }
}

function warnOfTfjsBehaviour(allLayers: readonly Layer[], weights: Weights, log: Log): void {
  const seeded = allLayers.filter((layer) => typeof layer.seed === 'number' && layer.seed !== 0);
  if (seeded.length > 0) {
    const names = seeded.map((layer) => layer.name);
    log.warn(
      `TensorFlow.js gives a layer that has its own seed the same random numbers in every step: ${names.join(', ')}. ` +
        `Leave the seed out; the job's seed covers it.`,
      { layers: names },
    );
  }
  const constrained = weights.variables.filter(isConstrained);
  if (constrained.length > 0) {
    const names = constrained.map((weight) => weight.originalName);
    log.warn(`Constraints on weights are not applied in training: ${names.join(', ')}.`, { parameters: names });
  }
}

/** Typed as always there; tfjs has null where there is none. */
function isConstrained({ constraint }: { readonly constraint: unknown }): boolean {
  return constraint !== null && constraint !== undefined;
}

/**
 * Recurrent cells keep their dropout masks until their layer's next call, and a cell inside `tf.layers.rnn` or
 * `stackedRNNCells` keeps its first masks for ever.
 */
function forgetDropoutMasks(tf: Tfjs, allLayers: readonly Layer[]): void {
  for (const layer of allLayers) {
    if (layer.dropoutMask != null) tf.dispose(layer.dropoutMask);
    if (layer.recurrentDropoutMask != null) tf.dispose(layer.recurrentDropoutMask);
    if (layer.dropoutMask !== undefined) layer.dropoutMask = null;
    if (layer.recurrentDropoutMask !== undefined) layer.recurrentDropoutMask = null;
  }
}
