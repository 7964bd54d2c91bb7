/** What a model's parameters look like from outside the model: a name, a shape, and whether the optimizer changes it. */

/** One tensor of float32 values. */
export interface ParameterSpec {
  /** Unique in the model, as the model names it: "dense1/kernel". */
  readonly name: string;
  readonly shape: readonly number[];
  /** Trainable parameters follow their gradient. The others are state that a step assigns (moving averages). */
  readonly trainable: boolean;
}

/** Number of elements of a tensor of this shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}
