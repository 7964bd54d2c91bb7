/** Layers, models and what they are made of, as Keras saves them in JSON: `{ class_name, config, … }`. */
import { z } from 'zod';

/** JSON as a configuration has it. */
export type Json = boolean | number | string | null | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [key: string]: Json;
}

export interface SavedObject {
  readonly className: string;
  readonly config: JsonObject;
  /** The Python module of the class; null in `.h5` files. */
  readonly module: string | null;
  /** Of a layer: its name in the model. */
  readonly name: string;
  /** Of a layer in a functional model: each of its calls. */
  readonly inboundNodes: readonly Json[];
}

const schema = z.looseObject({
  class_name: z.string(),
  config: z.record(z.string(), z.json()),
  module: z.string().nullish(),
  name: z.string().optional(),
  inbound_nodes: z.array(z.json()).default([]),
});

/** Null for what is no such object. */
export function savedObject(value: unknown): SavedObject | null {
  const parsed = schema.safeParse(value);
  if (!parsed.success) return null;
  const { class_name: className, config, module = null, name, inbound_nodes: inboundNodes } = parsed.data;
  const ownName = typeof config['name'] === 'string' ? config['name'] : '';
  return { className, config, module, name: name ?? ownName, inboundNodes };
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !isArray(value);
}

/** `Array.isArray` takes readonly arrays for any[]. */
export function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

const containers: ReadonlySet<string> = new Set(['Sequential', 'Functional', 'Model']);

/** Whether it is a model of layers, by itself or inside another one. */
export function isContainer({ className }: SavedObject): boolean {
  return containers.has(className);
}

/** The layers of a model, in its order; null in the place of what is none. */
export function layersOf({ config }: SavedObject): (SavedObject | null)[] {
  const layers = config['layers'];
  return isArray(layers) ? layers.map(savedObject) : [];
}
