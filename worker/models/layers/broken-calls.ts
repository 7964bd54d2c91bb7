/** Calls of a functional model that lead nowhere: tfjs-layers would wait for them for ever. */
import { isArray, isContainer, isObject, layersOf, type Json, type SavedObject } from './saved-object.js';

/** @param model as tfjs-layers reads it */
export function brokenCalls(model: SavedObject, path: readonly string[] = []): string[] {
  const layers = layersOf(model).filter((layer) => layer !== null);
  const numCalls = new Map(layers.map((layer) => [layer.name, layer.inboundNodes.length + numCallsBefore(layer)]));
  const isBroken = ([name, call]: readonly [string, number]): boolean => call >= (numCalls.get(name) ?? 0);
  const inner = layers.filter(isContainer).flatMap((layer) => brokenCalls(layer, [...path, layer.name]));
  if (model.className === 'Sequential') return inner;
  const ends = [model.config['input_layers'], model.config['output_layers']].flatMap((end) => referencesIn(end ?? []));
  const own = layers.flatMap((layer) =>
    layer.inboundNodes
      .flatMap(referencesIn)
      .filter(isBroken)
      .map((reference) => `"${[...path, layer.name].join('/')}" takes ${describe(reference)}`),
  );
  return [...inner, ...own, ...ends.filter(isBroken).map((end) => `an input or output is ${describe(end)}`)];
}

function describe([name, call]: readonly [string, number]): string {
  return `the output of call ${call} of "${name}", which is not there`;
}

/** An input has its output without a call; a model has been called once when it was made. */
function numCallsBefore(layer: SavedObject): number {
  return isContainer(layer) || layer.className === 'InputLayer' ? 1 : 0;
}

function referencesIn(value: Json): (readonly [string, number])[] {
  if (isObject(value)) return Object.values(value).flatMap(referencesIn);
  if (!isArray(value)) return [];
  const [name, call] = value;
  return typeof name === 'string' && typeof call === 'number' ? [[name, call]] : value.flatMap(referencesIn);
}
