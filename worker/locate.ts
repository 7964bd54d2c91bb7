/** Where in the data an error comes from: what a dataset or a model throws knows nothing of steps and rows. */
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { Batch, Dataset } from '../src/job/dataset.js';

/** Names the row that an error is about, where it says which of the batch it is. */
export function locate(thrown: unknown, data: Dataset, indices: ArrayLike<number>, step: number): LockstepError {
  const error = toLockstepError(thrown, 'ERR_STEP_FAILED');
  const { rowInBatch } = error.details;
  const row = typeof rowInBatch === 'number' ? indices[rowInBatch] : undefined;
  const where = row === undefined ? `at step ${step}` : `at ${data.describe?.(row) ?? `row ${row}`}`;
  return new LockstepError(error.code, `${error.message} (${where})`, {
    cause: error,
    details: { ...error.details, step, ...(row !== undefined && { row }) },
  });
}

/** The rows, or an error that says where the data failed. */
export async function readRows(data: Dataset, indices: ArrayLike<number>, step: number, spare?: Batch): Promise<Batch> {
  try {
    return await data.read(indices, spare);
  } catch (thrown) {
    throw locate(toLockstepError(thrown, 'ERR_DATA_INVALID'), data, indices, step);
  }
}
