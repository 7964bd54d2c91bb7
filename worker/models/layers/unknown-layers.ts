/** Layers of a saved model that tfjs-layers cannot make, each with its place: it would name one, and not where. */
import { isContainer, layersOf, type SavedObject } from './saved-object.js';

/** @param known names of classes (`knownClasses`) */
export function unknownLayers(model: SavedObject, known: ReadonlySet<string>, path: readonly string[] = []): string[] {
  const layers = layersOf(model);
  return layers.flatMap((layer, index) => {
    if (!layer) return [];
    const own = [...path, layer.name];
    if (isContainer(layer)) return unknownLayers(layer, known, own);
    if (known.has(layer.className)) return [];
    const place = `layer ${index + 1} of ${layers.length}`;
    return [`"${own.join('/')}" (${layer.className}, ${place}): TensorFlow.js has no such layer`];
  });
}
