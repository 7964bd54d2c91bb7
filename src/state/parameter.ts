/** What a model's parameters look like from outside the model: a name, a shape, and what a step does to it. */

export interface ParameterShape {
  /** Unique in the model, as the model names it: "dense1/kernel". */
  readonly name: string;
  readonly shape: readonly number[];
}

/** One tensor of float32 values. */
export interface ParameterSpec extends ParameterShape {
  /** Whether the optimizer changes it. The others are state that a step assigns (moving averages), or frozen. */
  readonly trainable: boolean;
  /** Neither trained nor assigned: it keeps its bits, and takes no part in the all-reduce. @default false */
  readonly frozen?: boolean;
}

/** Number of elements of a tensor of this shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}
