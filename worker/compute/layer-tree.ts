/** Layers inside of layers: what tfjs-layers keeps in members that are not public. */
import type { layers } from '@tensorflow/tfjs';

export interface InnerLayers {
  readonly layers?: readonly Layer[];
  readonly layer?: Layer;
  readonly forwardLayer?: Layer;
  readonly backwardLayer?: Layer;
  readonly cell?: Layer;
  readonly cells?: readonly Layer[];
}

export type Layer = layers.Layer & InnerLayers;

/** Every layer once, layers inside layers included. */
export function collectLayers(model: Layer): readonly Layer[] {
  const found = new Set<Layer>();
  const visit = (layer: Layer | undefined): void => {
    if (layer === undefined || found.has(layer)) return;
    found.add(layer);
    [...(layer.layers ?? []), ...(layer.cells ?? [])].forEach(visit);
    [layer.layer, layer.forwardLayer, layer.backwardLayer, layer.cell].forEach(visit);
  };
  visit(model);
  return [...found];
}
