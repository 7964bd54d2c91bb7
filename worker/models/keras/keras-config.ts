/**
 * The config of a Keras 3 model from a topology of tfjs-layers, whose names of fields are those of Keras 2. What Keras computes
 * otherwise is told, and not written. Pure.
 */
import {
  isArray,
  isContainer,
  isObject,
  layersOf,
  savedObject,
  type Json,
  type JsonObject,
  type SavedObject,
} from '../layers/saved-object.js';
import { unfitLayers } from './layer-differences.js';

export interface KerasConfig {
  readonly config: JsonObject;
  /** Each with the layer that it is of. */
  readonly problems: readonly string[];
}

/** @param topology */
export function kerasConfigOf(topology: JsonObject): KerasConfig {
  const problems: string[] = [];
  const model = savedObject(topology);
  const config = model && isContainer(model) ? container(model, problems) : {};
  return { config, problems };
}

function container(model: SavedObject, problems: string[]): JsonObject {
  return model.className === 'Sequential' ? sequential(model, problems) : functional(model, problems);
}

function sequential({ name, ...model }: SavedObject, problems: string[]): JsonObject {
  const layers = layersOf({ name, ...model }).filter((layer) => layer !== null);
  const [first] = layers;
  const shape = first?.config['batch_input_shape'];
  const needsInput = first && first.className !== 'InputLayer' && shape !== undefined;
  const input = { batch_shape: shape ?? null, dtype: 'float32', sparse: false, name: `${first?.name ?? name}_input` };
  const translated = layers.map((layer) => toLayer(layer, problems));
  return {
    ...{ module: 'keras', class_name: 'Sequential', registered_name: null },
    config: { name, layers: needsInput ? [object('keras.layers', 'InputLayer', input), ...translated] : translated },
  };
}

function functional(model: SavedObject, problems: string[]): JsonObject {
  const { name, config } = model;
  const layers = layersOf(model).filter((layer) => layer !== null);
  // Keras 3 counts the calls of models from zero, but in the outputs only those of sequential ones.
  const models = layers.filter(isContainer);
  const inCalls = new Set(models.map((layer) => layer.name));
  const inOutputs = new Set(models.filter(({ className }) => className === 'Sequential').map((layer) => layer.name));
  const translated = layers.map((layer): JsonObject => ({
    ...toLayer(layer, problems),
    name: layer.name,
    inbound_nodes: layer.inboundNodes.map((node) => countedFromZero(node, inCalls)),
  }));
  const [inputs, outputs] = [config['input_layers'], config['output_layers']].map((ends) =>
    single(countedFromZero(ends ?? [], inOutputs)),
  );
  return {
    ...{ module: 'keras.src.models.functional', class_name: 'Functional', registered_name: 'Functional' },
    config: { name, trainable: true, layers: translated, input_layers: inputs ?? [], output_layers: outputs ?? [] },
  };
}

/** A list of one reference stands for the model of one tensor. */
function single(ends: Json): Json {
  return isArray(ends) && ends.length === 1 && isArray(ends[0]) ? ends[0] : ends;
}

function countedFromZero(value: Json, fromOne: ReadonlySet<string>): Json {
  if (!isArray(value)) return value;
  const [name, call, ...rest] = value;
  if (typeof name !== 'string' || typeof call !== 'number') return value.map((one) => countedFromZero(one, fromOne));
  return [name, fromOne.has(name) ? call - 1 : call, ...rest];
}

function object(module: string, className: string, config: JsonObject): JsonObject {
  return { module, class_name: className, config, registered_name: null };
}

function toLayer(layer: SavedObject, problems: string[]): JsonObject {
  const { className, name, config } = layer;
  if (isContainer(layer)) return container(layer, problems);
  const tell = (what: string): void => {
    problems.push(`"${name}" (${className}): ${what}`);
  };
  if (unfitLayers.has(className) || className === 'ThresholdedReLU') tell('Keras 3 has another one, or none');
  if (className === 'UpSampling2D' && (config['interpolation'] ?? 'nearest') !== 'nearest')
    tell('Keras interpolates otherwise');
  if (className === 'InputLayer') return object('keras.layers', className, inputConfig(config));
  const fields = Object.entries(config).flatMap(([key, value]) => toField(key, value, { className, tell, problems }));
  return object('keras.layers', className, { ...Object.fromEntries(fields), ...onlyHere[className] });
}

function inputConfig({ name, dtype, batch_input_shape: shape }: JsonObject): JsonObject {
  return { name: name ?? null, dtype: dtype ?? 'float32', batch_shape: shape ?? null, sparse: false };
}

/** Names of fields that changed with Keras 3, by class. */
const renamed: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  LeakyReLU: { alpha: 'negative_slope' },
};

/** What tfjs-layers does without a field for it, and Keras only with one. */
const onlyHere: Readonly<Record<string, JsonObject>> = { GRU: { reset_after: false }, GRUCell: { reset_after: false } };

/** What layers of Keras 3 do not take. */
const dropped: Readonly<Record<string, readonly string[]>> = {
  Embedding: ['input_length'],
  SpatialDropout1D: ['noise_shape'],
};

interface FieldContext {
  readonly className: string;
  readonly tell: (what: string) => void;
  readonly problems: string[];
}

function toField(key: string, value: Json, { className, tell, problems }: FieldContext): [string, Json][] {
  if (key === 'batch_input_shape' || dropped[className]?.includes(key)) return [];
  const inner = savedObject(value);
  if (inner && (key === 'layer' || key === 'cell')) return [[key, toLayer(inner, problems)]];
  if (key === 'cells' && isArray(value)) return [[key, value.map((cell) => toCell(cell, problems))]];
  if (key.endsWith('_initializer')) return [[key, toInitializer(value)]];
  // tfjs-layers writes a regularizer in the place of DepthwiseConv2D's constraint.
  if (key === 'depthwise_constraint' && inner?.className === 'L1L2') return [[key, null]];
  if (/^(recurrent_)?activation$/.test(key)) checkActivation(key, value, tell);
  if (key === 'target_shape' && isArray(value)) return [[key, value.map((extent) => extent ?? -1)]];
  return [[renamed[className]?.[key] ?? key, value]];
}

function toCell(value: Json, problems: string[]): Json {
  const cell = savedObject(value);
  return cell ? toLayer(cell, problems) : value;
}

/** Functions of tfjs-layers that Keras 3 has by another name or otherwise. */
function checkActivation(key: string, value: Json, tell: (what: string) => void): void {
  if (value === 'hard_sigmoid') tell(`its ${key} is hard_sigmoid, which in Keras 3 is another function; use sigmoid`);
  if (value === 'gelu_new') tell(`its ${key} is gelu_new, which Keras does not have by a name`);
}

/** In tfjs-layers a normal distribution is a truncated one. */
function toInitializer(value: Json): Json {
  if (!isObject(value) || !isObject(value['config'])) return value;
  const { distribution } = value['config'];
  return distribution === 'normal'
    ? { ...value, config: { ...value['config'], distribution: 'truncated_normal' } }
    : value;
}
