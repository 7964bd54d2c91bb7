/** A batch on its way into tfjs: checked against itself, against the classes of the model, and made into tensors. */
import type { Tensor } from '@tensorflow/tfjs';
import { LockstepError } from '../../src/errors.js';
import type { Batch, Column } from '../../src/job/dataset.js';
import { sizeOf } from '../../src/state/parameter.js';
import type { Tfjs } from './engine/tfjs.js';

/**
 * Both columns have the same number of rows, at least one, and as many values as their shapes say.
 *
 * @throws LockstepError ERR_DATA_INVALID
 */
export function checkBatch(batch: Batch): void {
  checkColumn('x', batch.x);
  checkColumn('y', batch.y);
  if (batch.x.shape[0] === batch.y.shape[0]) return;
  throw new LockstepError(
    'ERR_DATA_INVALID',
    `A batch has ${formatShape(batch.x.shape)} inputs and ${formatShape(batch.y.shape)} labels: expected as many rows ` +
      `of each. Check the dataset's read().`,
    { details: { x: batch.x.shape, y: batch.y.shape } },
  );
}

function checkColumn(name: 'x' | 'y', { data, shape }: Column): void {
  if (shape.length > 0 && shape[0] !== 0 && sizeOf(shape) === data.length) return;
  throw new LockstepError(
    'ERR_DATA_INVALID',
    `A batch's ${name} has ${data.length} values and the shape ${formatShape(shape)}: expected [rows, …] with at least ` +
      `one row and ${sizeOf(shape)} values. Check the dataset's read().`,
    { details: { column: name, numValues: data.length, shape } },
  );
}

/**
 * Every value of `y` is a class of the model. Without this check tfjs trains on: a label that is out of range becomes a
 * row of zeros, and its loss is constant.
 *
 * @param numClasses extent of the model's last output dimension
 * @throws LockstepError ERR_LABEL_OUT_OF_RANGE, with `label`, `numClasses` and `rowInBatch` in its details
 */
export function checkLabels(batch: Batch, numClasses: number): void {
  const labels = batch.y.data;
  for (let index = 0; index < labels.length; index++) {
    const label = labels[index] ?? NaN;
    if (label >= 0 && label < numClasses && Number.isInteger(label)) continue;
    const rowInBatch = Math.floor(index / sizeOf(batch.y.shape.slice(1)));
    throw new LockstepError(
      'ERR_LABEL_OUT_OF_RANGE',
      `Row ${rowInBatch} of the batch has the label ${label}: expected a whole number from 0 to ${numClasses - 1}, as ` +
        `the model has ${numClasses} outputs. Correct the data, or give the model's last layer more units.`,
      { details: { label, numClasses, rowInBatch } },
    );
  }
}

/**
 * Every value of `x` is a token of the model. Without this check TensorFlow trains on, where it computes on a GPU: a token
 * that is out of range has the embedding 0.
 *
 * @param numTokens `undefined` where inputs are no tokens
 * @throws LockstepError ERR_DATA_INVALID, with `token`, `numTokens` and `rowInBatch` in its details
 */
export function checkTokens(batch: Batch, numTokens: number | undefined): void {
  if (numTokens === undefined) return;
  const { data, shape } = batch.x;
  for (let index = 0; index < data.length; index++) {
    const token = data[index] ?? NaN;
    if (token >= 0 && token < numTokens && Number.isInteger(token)) continue;
    const rowInBatch = Math.floor(index / sizeOf(shape.slice(1)));
    throw new LockstepError(
      'ERR_DATA_INVALID',
      `Row ${rowInBatch} of the batch has the token ${token}: expected a whole number from 0 to ${numTokens - 1}, as the ` +
        `model knows ${numTokens} tokens. Read the text with the tokenizer that belongs to the model.`,
      { details: { token, numTokens, rowInBatch } },
    );
  }
}

/** A column as tfjs takes it: values that need no more conversion, and their shape. */
export interface ColumnValues {
  readonly values: Float32Array | Int32Array;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
}

/** Inputs: integers of 32 bits stay integers (token ids), bytes become float32 (pixels). */
export function inputValues({ data, shape }: Column): ColumnValues {
  const dtype = data instanceof Int32Array ? 'int32' : 'float32';
  const values = data instanceof Uint8Array ? Float32Array.from(data) : data;
  return { values, shape: atLeastTwoDimensions(shape), dtype };
}

/** Labels: all integers become int32. */
export function labelValues({ data, shape }: Column): ColumnValues {
  const dtype = data instanceof Float32Array ? 'float32' : 'int32';
  const values = data instanceof Uint8Array ? Int32Array.from(data) : data;
  return { values, shape: atLeastTwoDimensions(shape), dtype };
}

export function inputTensor(tf: Tfjs, column: Column): Tensor {
  return toTensor(tf, inputValues(column));
}

export function labelTensor(tf: Tfjs, column: Column): Tensor {
  return toTensor(tf, labelValues(column));
}

function toTensor(tf: Tfjs, { values, shape, dtype }: ColumnValues): Tensor {
  return tf.tensor(values, [...shape], dtype);
}

/** [rows] as [rows, 1], as `LayersModel.fit` has it; other shapes as they are. */
export function atLeastTwoDimensions(shape: readonly number[]): readonly number[] {
  return shape.length === 1 ? [...shape, 1] : shape;
}

/** "[64, 10]"; a dimension of any size is "rows" where it comes first and "any" elsewhere. */
export function formatShape(shape: readonly (number | null)[]): string {
  return `[${shape.map((extent, axis) => extent ?? (axis === 0 ? 'rows' : 'any')).join(', ')}]`;
}
