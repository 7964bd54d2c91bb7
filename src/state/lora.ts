/**
 * Low-rank adapters (Hu et al., 2021, arXiv:2106.09685): instead of a matrix W [in, out], two small ones are trained, A [in, rank] and
 * B [rank, out], and the model computes with W + alpha/rank · A·B. B begins as zeros, so the model begins as it was.
 */
import { z } from 'zod';
import { assert, LockstepError } from '../errors.js';
import { sizeOf } from './parameter.js';

const namePattern = z.string().min(1);

export const loraSchema = z.strictObject({
  rank: z.int().positive(),
  /** What A·B is multiplied by, times the rank. */
  alpha: z.number().positive(),
  /** Patterns of the names of matrices that get adapters. */
  targets: z.array(namePattern).min(1),
  /** Patterns of the names of other parameters that are trained too, such as those of a new last layer. */
  train: z.array(namePattern).default([]),
});

export type LoraConfig = z.output<typeof loraSchema>;

const suffixes = { a: '/lora_a', b: '/lora_b' } as const;

/** Names of a matrix's adapters. */
export function adapterNames(matrix: string): { readonly a: string; readonly b: string } {
  return { a: `${matrix}${suffixes.a}`, b: `${matrix}${suffixes.b}` };
}

export function isAdapter(name: string): boolean {
  return Object.values(suffixes).some((suffix) => name.endsWith(suffix));
}

/** The name of the matrix that an adapter is added to; of what is none, its own. */
export function adaptedMatrix(name: string): string {
  const suffix = Object.values(suffixes).find((one) => name.endsWith(one)) ?? '';
  return name.slice(0, name.length - suffix.length);
}

/** How adapters are added to their matrices. */
export type LoraScaling = Pick<LoraConfig, 'rank' | 'alpha'>;

export function loraScale({ rank, alpha }: LoraScaling): number {
  return alpha / rank;
}

/** A tensor in memory, row-major. */
export interface WeightTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/**
 * The weights of a model with adapters as those of the model without: each adapter is added to its matrix, in float64 and
 * rounded once, and is left out.
 *
 * @param weights by name, such as all parameters of a checkpoint, whose `job.lora` is the other argument; they are left as they are
 * @throws LockstepError ERR_CHECKPOINT_INVALID where an adapter lacks its matrix, or does not fit it
 */
export function mergeLora<Tensor extends WeightTensor>(
  weights: ReadonlyMap<string, Tensor>,
  lora: LoraScaling,
): Map<string, Tensor | WeightTensor> {
  const matrices = [...weights.keys()].filter(isAdapter).map(adaptedMatrix);
  const merged = new Map<string, Tensor | WeightTensor>([...weights].filter(([name]) => !isAdapter(name)));
  for (const name of new Set(matrices)) merged.set(name, mergedMatrix(weights, name, lora));
  return merged;
}

function mergedMatrix(weights: ReadonlyMap<string, WeightTensor>, name: string, lora: LoraScaling): WeightTensor {
  const { rank } = lora;
  const names = adapterNames(name);
  const [numRows = 0, numColumns = 0] = weights.get(name)?.shape ?? [];
  const matrix = tensorOf(weights, name, [numRows, numColumns]);
  const a = tensorOf(weights, names.a, [numRows, rank]);
  const b = tensorOf(weights, names.b, [rank, numColumns]);
  const values = new Float32Array(matrix.length);
  const row = new Float64Array(numColumns);
  for (let i = 0; i < numRows; i++) {
    row.set(matrix.subarray(i * numColumns, (i + 1) * numColumns));
    for (let r = 0; r < rank; r++) addRow(row, b.subarray(r * numColumns), loraScale(lora) * at(a, i * rank + r));
    values.set(row, i * numColumns);
  }
  return { shape: [numRows, numColumns], values };
}

function addRow(row: Float64Array, other: Float32Array, factor: number): void {
  for (let j = 0; j < row.length; j++) row[j] = at(row, j) + factor * at(other, j);
}

function tensorOf(weights: ReadonlyMap<string, WeightTensor>, name: string, shape: readonly number[]): Float32Array {
  const tensor = weights.get(name);
  if (tensor && String(tensor.shape) === String(shape) && tensor.values.length === sizeOf(shape)) return tensor.values;
  const found = tensor ? `[${tensor.shape.join(', ')}]` : 'not there';
  throw new LockstepError(
    'ERR_CHECKPOINT_INVALID',
    `The weights cannot be merged with their adapters: "${name}" is ${found}, expected [${shape.join(', ')}].`,
    { details: { name, found: tensor?.shape, expected: shape } },
  );
}

function at(array: Float32Array | Float64Array, index: number): number {
  const value = array[index];
  assert(value !== undefined, `a tensor has no element ${index}`);
  return value;
}
