/** The weights of a LayersModel by the layer that has them, as files of Keras list them. */
import type { LayersModel } from '@tensorflow/tfjs';
import type { ParameterShape } from '../../../src/state/parameter.js';
import type { Layer } from '../../compute/layer-tree.js';
import { nameParameters } from '../../compute/parameter-names.js';

export type LayerVariable = LayersModel['trainableWeights'][number];

/** A weight, under a name that is unique in the model: "dense1/kernel". */
export interface LayerWeight extends ParameterShape {
  readonly variable: LayerVariable;
}

/** A layer that is no model, and holds weights by itself or in layers of its own. */
export interface LayerUnit {
  /** Names of the models around it, and its own: "encoder/dense". */
  readonly path: string;
  /** One list for each layer that holds weights itself: the layer, or the cells of its forward and its backward pass. */
  readonly parts: readonly (readonly LayerWeight[])[];
}

export function unitsOf(model: LayersModel): LayerUnit[] {
  const found = [...unitsIn(model, [])];
  const variables = found.flatMap(({ parts }) => parts.flat());
  const names = nameParameters(variables.map(({ originalName }) => originalName));
  const named = new Map(variables.map((variable, index) => [variable, names[index] ?? variable.name]));
  const toWeight = (variable: LayerVariable): LayerWeight => ({
    ...{ name: named.get(variable) ?? variable.name, shape: variable.read().shape },
    variable,
  });
  return found.map(({ path, parts }) => ({ path, parts: parts.map((part) => part.map(toWeight)) }));
}

interface FoundUnit {
  readonly path: string;
  readonly parts: readonly (readonly LayerVariable[])[];
}

function* unitsIn(model: Layer, path: readonly string[]): Generator<FoundUnit> {
  for (const layer of model.layers ?? []) {
    const own = [...path, layer.name];
    const inner = layer.layers ? layer : layer.layer?.layers ? layer.layer : null;
    if (inner) yield* unitsIn(inner, own);
    else yield { path: own.join('/'), parts: partsOf(layer).map(({ weights }) => weights) };
  }
}

function partsOf(layer: Layer): Layer[] {
  const { layer: wrapped, forwardLayer, backwardLayer, cell, cells } = layer;
  if (forwardLayer && backwardLayer) return [...partsOf(forwardLayer), ...partsOf(backwardLayer)];
  if (cells) return cells.flatMap(partsOf);
  const inner = wrapped ?? cell;
  return inner ? partsOf(inner) : [layer];
}

/** tfjs-layers leaves weights of layers inside layers, and of those that were applied more than once. */
export function disposeModel(model: LayersModel): void {
  const values = unitsOf(model).flatMap(({ parts }) => parts.flat().map(({ variable }) => variable.read()));
  model.dispose();
  for (const value of values) if (!value.isDisposed) value.dispose();
}
