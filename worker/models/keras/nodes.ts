/** The calls of layers in a functional model: which tensors each was given, as tfjs-layers has it. */
import { isArray, isObject, type Json } from '../layers/saved-object.js';

export interface NodeContext {
  /** Layers whose calls tfjs-layers counts from one. */
  readonly shifted: ReadonlySet<string>;
  readonly lacks: (what: string) => void;
}

/** [name of a layer, its call, which of that call's outputs] */
type Reference = readonly [string, number, number];

/**
 * A list of tensors. Flags of the call such as `training` are not kept: tfjs-layers, too, forgets them when a model runs as a whole.
 * Nor are masks, which it hands on by itself.
 */
export function translateNode(node: Json, { shifted, lacks }: NodeContext): Json {
  if (isArray(node)) return node.map((one) => shiftListed(one, shifted)); // as Keras 2 has it
  const { args, kwargs } = isObject(node) ? node : {};
  const [first = null, ...others] = isArray(args) ? args : [];
  const tensors = tensorsIn(first);
  if (others.some((other) => tensorsIn(other).length > 0)) {
    lacks('it is called with several tensors that are not in one list');
  }
  for (const [name, value] of Object.entries(isObject(kwargs) ? kwargs : {})) {
    const named = tensorsIn(value);
    if (name === 'initial_state') tensors.push(...named);
    else if (named.length > 0 && name !== 'mask') lacks(`it is called with a tensor by the name of ${name}`);
  }
  return tensors.map((tensor) => [...shift(tensor, shifted), {}]);
}

/** Names of the layers whose tensors a call needs, masks left out. */
export function sourcesOf(node: Json): string[] {
  if (isArray(node)) return node.flatMap((one) => referenceOf(one)?.[0] ?? []);
  const { args, kwargs } = isObject(node) ? node : {};
  const { mask: _, ...others } = isObject(kwargs) ? kwargs : {};
  return tensorsIn([args ?? null, others]).map(([name]) => name);
}

/** The inputs or outputs of a model: one reference, a list, or an object of them. */
export function referencesIn(value: Json | undefined, shifted: ReadonlySet<string>): Reference[] {
  const reference = referenceOf(value);
  if (reference) return [shift(reference, shifted)];
  if (isArray(value)) return value.flatMap((one) => referencesIn(one, shifted));
  if (isObject(value)) return Object.values(value).flatMap((one) => referencesIn(one, shifted));
  return [];
}

function tensorsIn(value: Json): Reference[] {
  if (isArray(value)) return value.flatMap(tensorsIn);
  if (!isObject(value)) return [];
  if (value['class_name'] !== '__keras_tensor__') return Object.values(value).flatMap(tensorsIn);
  const { config } = value;
  const reference = isObject(config) ? referenceOf(config['keras_history']) : null;
  return reference ? [reference] : [];
}

function referenceOf(value: Json | undefined): Reference | null {
  if (!isArray(value)) return null;
  const [name, node, tensor] = value;
  if (typeof name !== 'string' || typeof node !== 'number' || typeof tensor !== 'number') return null;
  return [name, node, tensor];
}

function shift([name, node, tensor]: Reference, shifted: ReadonlySet<string>): Reference {
  return [name, shifted.has(name) ? node + 1 : node, tensor];
}

/** [name, call, output, flags] */
function shiftListed(value: Json, shifted: ReadonlySet<string>): Json {
  const reference = referenceOf(value);
  return reference && isArray(value) ? [...shift(reference, shifted), ...value.slice(3)] : value;
}
