/** The config of one layer of Keras as tfjs-layers takes it. */
import {
  translateActivation,
  translateConstraint,
  translateInitializer,
  translateInput,
  translateRegularizer,
  withFreeBatch,
  type TranslationContext,
} from './inner-objects.js';
import { differences } from './layer-differences.js';
import {
  isArray,
  isObject,
  savedObject,
  type Json,
  type JsonObject,
  type SavedObject,
} from '../layers/saved-object.js';

/** Translates a layer inside of this one: what a wrapper wraps, or the cell of a recurrent layer. */
export type TranslateInner = (layer: SavedObject) => JsonObject;

/** A layer's own seed would give it the same random numbers in every step; the job's covers it. */
const dropped = ['seed', 'backward_layer', 'quantization_config'];

export function translateConfig(
  { className, config, name }: SavedObject,
  context: TranslationContext,
  inner: TranslateInner,
): JsonObject {
  if (className === 'InputLayer') return { ...translateInput(config, context), name };
  const { renamed = {}, only = {}, dropped: refused = [] } = differences[className] ?? {};
  reportDifferences(className, config, context);
  const left = new Set([...dropped, ...refused, ...Object.keys(only)]);
  const fields = Object.entries(className === 'Bidirectional' ? withOwnName(config) : config).flatMap(
    ([key, value]): [string, Json][] => {
      if (left.has(key)) return [];
      return [[renamed[key] ?? key, translateField(key, value, { context, inner })]];
    },
  );
  return { ...Object.fromEntries(fields), name };
}

function reportDifferences(className: string, config: JsonObject, { lacks }: TranslationContext): void {
  const { only, limited } = differences[className] ?? {};
  for (const [field, values] of Object.entries({ ...only, ...limited })) {
    const value = config[field];
    const isTheSame = value === undefined || values.some((one) => JSON.stringify(one) === JSON.stringify(value));
    if (!isTheSame) lacks(`its ${field} is ${JSON.stringify(value)}`);
  }
  if (!isMirrored(config)) lacks('its backward_layer is another than its layer');
}

const ofThePass: ReadonlySet<string> = new Set(['name', 'go_backwards', 'shared_object_id']);

/** Whether the layer that runs backwards is the other one but for the direction. */
function isMirrored({ layer, backward_layer: backward }: JsonObject): boolean {
  const [forwards, backwards] = [savedObject(layer), savedObject(backward)];
  if (!forwards || !backwards) return true;
  const [first, second] = [forwards, backwards].map(({ className, config }) =>
    JSON.stringify([className, config], (key, value: Json) => (ofThePass.has(key) ? undefined : value)),
  );
  return first === second;
}

interface FieldOptions {
  readonly context: TranslationContext;
  readonly inner: TranslateInner;
}

function translateField(key: string, value: Json, { context, inner }: FieldOptions): Json {
  if (key === 'dtype') return 'float32';
  if (key === 'batch_input_shape') return withFreeBatch(value);
  if (key === 'axis') return isArray(value) && value.length === 1 ? (value[0] ?? null) : value;
  if (key.endsWith('_initializer')) return translateInitializer(value, context);
  if (key.endsWith('_regularizer')) return translateRegularizer(value, key, context);
  if (key.endsWith('_constraint')) return translateConstraint(value, key, context);
  if (/^(recurrent_)?activation$/.test(key)) return translateActivation(value, key, context);
  if (key === 'cells' && isArray(value)) return value.map((cell) => translateInner(cell, inner));
  if (key === 'layer' || key === 'cell') return translateInner(value, inner);
  return isObject(value) && 'class_name' in value ? null : value;
}

function translateInner(value: Json, inner: TranslateInner): Json {
  const layer = savedObject(value);
  return layer ? inner(layer) : value;
}

/** Both sides put forward_ before the name of the layer inside, Keras before it saves and tfjs-layers when it loads. */
function withOwnName({ layer, ...config }: JsonObject): JsonObject {
  if (!isObject(layer) || !isObject(layer['config'])) return config;
  const { name, ...rest } = layer['config'];
  const own = typeof name === 'string' ? name.replace(/^forward_/, '') : null;
  return { ...config, layer: { ...layer, config: { ...rest, name: own } } };
}
