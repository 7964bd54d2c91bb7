/**
 * Makes a LayersModel of a topology and of weights that a file has under names of its own. All names and shapes are compared before a
 * weight is read.
 */
import type { LayersModel } from '@tensorflow/tfjs';
import { LockstepError, toLockstepError } from '../../../src/errors.js';
import { matchTensors, type NameMap } from '../../../src/state/name-map.js';
import type { StoredTensor } from '../../../src/state/safetensors.js';
import { tf } from '../../compute/tf.js';
import { brokenCalls } from './broken-calls.js';
import { disposeModel, unitsOf, type LayerUnit } from './layer-units.js';
import { isArray, isObject, savedObject, type Json, type JsonObject } from './saved-object.js';

type SavedTensor = Pick<StoredTensor, 'name' | 'dtype' | 'shape'>;

export interface SavedModel<T extends SavedTensor> {
  /** What messages call the file. */
  readonly source: string;
  /** As tfjs-layers reads it. */
  readonly topology: JsonObject;
  /** All that the file has. */
  readonly tensors: readonly T[];
  /** From names of the file to those of the model's weights. */
  readonly nameOf: (units: readonly LayerUnit[]) => NameMap;
  readonly read: (tensor: T) => Float32Array;
}

/** What a model was made from, for whoever writes it to a file again. */
export interface Origin {
  readonly topology: JsonObject;
  /** Where it was a Keras 3 file: its config, as it was. */
  readonly kerasConfig?: JsonObject;
}

/** With the model's own config when it had been made: layers may be added and taken away since. */
const origins = new WeakMap<LayersModel, { readonly origin: Origin; readonly ownConfig: string }>();

/** Undefined for a model that was made in code, or changed there. */
export function originOf(model: LayersModel): Origin | undefined {
  const known = origins.get(model);
  if (!known) return undefined;
  const { origin, ownConfig: before } = known;
  return before === ownConfig(model) ? origin : undefined;
}

/** What is computed: whether it is trained as well makes no other model. */
function ownConfig(model: LayersModel): string {
  return JSON.stringify(model.toJSON(null, false), (key, value: unknown) => (key === 'trainable' ? undefined : value));
}

/** The topology that the model was made from, or as tfjs-layers says it. */
export function topologyOf(model: LayersModel): JsonObject {
  const topology: unknown = originOf(model)?.topology ?? model.toJSON(null, false);
  return topology as JsonObject; // JSON of an object
}

/** @throws LockstepError ERR_MODEL_INVALID with all that is missing, left over, or of another shape or type */
export async function makeSavedModel<T extends SavedTensor>(
  saved: SavedModel<T>,
  kerasConfig?: JsonObject,
): Promise<LayersModel> {
  const model = await build(saved);
  try {
    setWeights(model, saved);
  } catch (error) {
    disposeModel(model);
    throw error;
  }
  const origin = { topology: saved.topology, ...(kerasConfig && { kerasConfig }) };
  origins.set(model, { origin, ownConfig: ownConfig(model) });
  return model;
}

/** Classes of layers, activations and the rest that tfjs-layers can make, with those that the job has registered. */
export function knownClasses(): ReadonlySet<string> {
  return new Set(Object.keys(tf.serialization.SerializationMap.getMap().classNameMap));
}

async function build({ source, topology }: Pick<SavedModel<never>, 'source' | 'topology'>): Promise<LayersModel> {
  const saved = savedObject(topology);
  const broken = saved ? brokenCalls(saved) : ['it has no topology'];
  if (broken.length > 0) {
    throw new LockstepError('ERR_MODEL_INVALID', `The model of ${source} is not whole: ${broken.join('; ')}.`, {
      details: { source, broken },
    });
  }
  try {
    // tfjs-layers changes what it is given.
    const modelTopology = structuredClone(withoutInitializers(topology)) as object; // an object comes back as one
    return await tf.loadLayersModel({ load: async () => ({ modelTopology }) });
  } catch (cause) {
    const [reason] = toLockstepError(cause).message.split('\n'); // it goes on with advice
    throw new LockstepError('ERR_MODEL_INVALID', `TensorFlow.js cannot make the model of ${source}: ${reason ?? ''}`, {
      cause,
      details: { source },
    });
  }
}

/** All values come from the file: drawing them first takes long (Orthogonal), and the bias of an LSTM's forget gate leaves tensors behind. */
function withoutInitializers(value: Json): Json {
  if (isArray(value)) return value.map(withoutInitializers);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const isInitializer = key.endsWith('_initializer') && inner !== null;
      if (key === 'unit_forget_bias') return [key, false];
      return [key, isInitializer ? { class_name: 'Zeros', config: {} } : withoutInitializers(inner)];
    }),
  );
}

function setWeights<T extends SavedTensor>(model: LayersModel, { source, tensors, nameOf, read }: SavedModel<T>): void {
  const units = unitsOf(model);
  const weights = units.flatMap(({ parts }) => parts.flat());
  const matched = matchTensors(tensors, weights, { nameOf: nameOf(units), source });
  tf.tidy(() => {
    for (const [index, { variable, shape }] of weights.entries()) {
      const tensor = matched[index];
      if (tensor) variable.write(tf.tensor(read(tensor), [...shape]));
    }
  });
}
