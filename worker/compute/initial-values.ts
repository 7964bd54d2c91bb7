/**
 * The values that a model was made with, in memory of the kind that a run keeps weights in: TensorFlow reads them in place.
 * Of other arrays it takes copies into a pool of its own, which never shrinks.
 */
import type { Variable } from '@tensorflow/tfjs';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory, PARAMETERS } from '../../src/state/memory.js';
import type { ParameterSpec } from '../../src/state/parameter.js';
import { assert } from '../../src/errors.js';
import { collectGarbage } from './garbage.js';

/** One per parameter, in the order given. */
export function copyValues(parameters: readonly ParameterSpec[], variables: readonly Variable[]): Float32Array[] {
  const layout = planLayout(parameters, 0);
  const whole = { name: PARAMETERS, elements: layout.segments.map(({ elements }) => elements) };
  const memory = FlatMemory.create(layout, [whole]);
  const views = parameters.map(({ name }, index) => {
    const placed = layout.parameters.find((one) => one.name === name);
    const variable = variables[index];
    assert(placed && variable, `parameter ${name} has no place, or no variable`);
    const view = memory.parameterView(PARAMETERS, placed);
    view.set(variable.dataSync<'float32'>());
    return view;
  });
  collectGarbage();
  return views;
}
