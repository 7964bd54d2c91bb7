/**
 * The topology of a Keras model as tfjs-layers reads it, which is that of Keras 2. Keras 3 has other names of fields, objects in the
 * place of names, and tensors in the place of the layers that they come from. Pure.
 */
import type { TranslationContext } from './inner-objects.js';
import { translateConfig } from './layer-config.js';
import { unfitLayers } from './layer-differences.js';
import {
  isArray,
  isContainer,
  isObject,
  layersOf,
  type Json,
  type JsonObject,
  type SavedObject,
} from '../layers/saved-object.js';
import { referencesIn, sourcesOf, translateNode } from './nodes.js';

export interface Translation {
  readonly topology: JsonObject;
  /** What tfjs-layers lacks, each with its place in the model. */
  readonly problems: readonly string[];
}

interface Context extends Omit<TranslationContext, 'lacks'> {
  /** Names of the models around, and of wrappers. */
  readonly path: readonly string[];
  readonly problems: string[];
}

export function translateModel(
  model: SavedObject,
  { kerasMajor, knownClasses }: Omit<TranslationContext, 'lacks'>,
): Translation {
  const problems: string[] = [];
  const topology = translateContainer(model, { kerasMajor, knownClasses, path: [], problems });
  return { topology, problems };
}

function translateContainer(model: SavedObject, context: Context): JsonObject {
  const found = layersOf(model);
  if (found.length === 0 || found.includes(null)) {
    context.problems.push(`${describe(model, context)}: its layers cannot be read`);
  }
  const layers = withoutMasks(model, found).flatMap((saved): PlacedLayer[] => {
    if (!saved) return [];
    const within = { ...context, place: `layer ${found.indexOf(saved) + 1} of ${found.length}` };
    return [{ saved, within, translated: translateLayer(saved, within) }];
  });
  return model.className === 'Sequential' ? sequential(model, layers) : functional(model, layers, context);
}

interface PlacedLayer {
  readonly saved: SavedObject;
  readonly within: LayerContext;
  readonly translated: JsonObject;
}

/** Keras 3 saves the operations that make masks as part of the model; tfjs-layers makes masks by itself. */
function withoutMasks(model: SavedObject, layers: readonly (SavedObject | null)[]): readonly (SavedObject | null)[] {
  if (model.className === 'Sequential') return layers;
  const byName = new Map(layers.map((layer) => [layer?.name, layer]));
  const needed = new Set<string>();
  const need = (name: string): void => {
    if (needed.has(name)) return;
    needed.add(name);
    for (const node of byName.get(name)?.inboundNodes ?? []) sourcesOf(node).forEach(need);
  };
  for (const [name] of referencesIn(model.config['output_layers'], new Set())) need(name);
  return layers.filter((layer) => !layer || layer.className === 'InputLayer' || needed.has(layer.name));
}

function sequential({ name, config }: SavedObject, layers: readonly PlacedLayer[]): JsonObject {
  const translated = layers.map((layer) => layer.translated);
  return {
    class_name: 'Sequential',
    config: { name, layers: withInputShape(translated, config['build_input_shape']) },
  };
}

/** A model that has no input layer, and was built on data. */
function withInputShape(layers: readonly JsonObject[], shape: Json | undefined): readonly JsonObject[] {
  const [first, ...rest] = layers;
  const config = first?.['config'];
  if (!first || !isObject(config) || !isArray(shape) || first['class_name'] === 'InputLayer') return layers;
  if ('batch_input_shape' in config || 'layers' in config) return layers;
  return [{ ...first, config: { ...config, batch_input_shape: [null, ...shape.slice(1)] } }, ...rest];
}

/**
 * In tfjs-layers a model has been called once before it is part of another one. Keras 3 counts that call for none in the calls of
 * layers, and for functional models only in the outputs.
 */
function functional(
  { name, config }: SavedObject,
  layers: readonly PlacedLayer[],
  { kerasMajor }: Context,
): JsonObject {
  const models = kerasMajor >= 3 ? layers.map(({ saved }) => saved).filter(isContainer) : [];
  const inCalls = new Set(models.map((model) => model.name));
  const inOutputs = new Set(models.filter(({ className }) => className === 'Sequential').map((model) => model.name));
  return {
    class_name: 'Functional',
    config: {
      name,
      layers: layers.map(({ saved, within, translated }) => {
        const lacks = lacksOf(saved, within);
        const calls = saved.inboundNodes.map((node) => translateNode(node, { shifted: inCalls, lacks }));
        return { ...translated, name: saved.name, inbound_nodes: calls };
      }),
      input_layers: referencesIn(config['input_layers'], inOutputs),
      output_layers: referencesIn(config['output_layers'], inOutputs),
    },
  };
}

interface LayerContext extends Context {
  /** "layer 2 of 5" */
  readonly place: string;
}

function translateLayer(saved: SavedObject, context: LayerContext): JsonObject {
  const lacks = lacksOf(saved, context);
  const problem = problemOf(saved, context);
  if (problem !== null) lacks(problem);
  const within = { ...context, path: [...context.path, saved.name] };
  if (isContainer(saved)) return translateContainer(saved, within);
  const inner = (layer: SavedObject): JsonObject =>
    translateLayer(layer, { ...within, place: `inside "${saved.name}"` });
  return { class_name: saved.className, config: translateConfig(saved, { ...context, lacks }, inner) };
}

function problemOf(saved: SavedObject, { knownClasses }: Context): string | null {
  const { className, module } = saved;
  if (isContainer(saved)) return null;
  if (/^keras\.(src\.)?ops\b/.test(module ?? '')) return 'TensorFlow.js has layers only, and this is an operation';
  if (!knownClasses.has(className)) return 'TensorFlow.js has no such layer';
  return unfitLayers.has(className) ? 'the one of TensorFlow.js is another' : null;
}

/** "encoder/attention" (MultiHeadAttention, layer 7 of 12): … */
function lacksOf(saved: SavedObject, context: LayerContext): (what: string) => void {
  return (what) => {
    context.problems.push(`${describe(saved, context)}: ${what}`);
  };
}

function describe({ className, name }: SavedObject, context: Context & { readonly place?: string }): string {
  const path = [...context.path, name].join('/');
  return context.place === undefined ? `"${path}" (${className})` : `"${path}" (${className}, ${context.place})`;
}
