/** Rows that the model makes as it is trained, such as games that it plays. */
import { assert, LockstepError } from '../../src/errors.js';
import type { Batch, CollectContext, Column, Dataset, DataSource } from '../../src/job/dataset.js';
import { firstUnusable } from './element.js';
import { combinedFingerprint } from './fingerprint.js';
import { sizeOf } from './row-store.js';

export interface RolloutsOptions {
  /** Rows of an epoch; a multiple of the job's `batchSize`, or the rest is left out as ever. */
  readonly rowsPerEpoch: number;
  /** Shape of a row's input, without the rows; float32. */
  readonly x: readonly number[];
  /** Shape of what the row is to predict; float32. */
  readonly y: readonly number[];
  /**
   * Makes `numRows` rows. Called in the worker that computes them, and again in another where that one is lost: what it
   * gives is to follow from its context alone.
   */
  readonly collect: (context: CollectContext) => Batch;
}

/**
 * Training data that is made anew for each slot and step, with the weights that the step begins with.
 *
 * @example rollouts({ rowsPerEpoch: 12_800, x: [6, 7, 2], y: [8], collect: playGames })
 */
export function rollouts(options: RolloutsOptions): DataSource {
  const { rowsPerEpoch: length, x, y, collect } = options;
  if (!Number.isInteger(length) || length < 1) {
    throw new LockstepError(
      'ERR_DATA_INVALID',
      `rollouts: rowsPerEpoch: found ${length}, expected a whole number from 1 on.`,
    );
  }
  const dataset: Dataset = {
    length,
    read: (indices) => ({ x: zeros(indices.length, x), y: zeros(indices.length, y) }),
    collect: (context) => {
      const batch = collect(context);
      check('x', batch.x, [context.numRows, ...x]);
      check('y', batch.y, [context.numRows, ...y]);
      return batch;
    },
    describe: (index) => `rollout row ${index + 1}`,
    fingerprint: () => combinedFingerprint(['rollouts', length, x, y, collect.toString()]),
  };
  return { open: () => Promise.resolve(dataset) };
}

function zeros(numRows: number, shape: readonly number[]): Column {
  return { data: new Float32Array(numRows * sizeOf(shape)), shape: [numRows, ...shape] };
}

function check(name: 'x' | 'y', { data, shape }: Column, expected: readonly number[]): void {
  const what = (extents: readonly number[]): string => `[${extents.join(', ')}]`;
  if (!(data instanceof Float32Array) || what(shape) !== what(expected) || data.length !== sizeOf(expected)) {
    const found = `${data.length} numbers of a ${data.constructor.name} with the shape ${what(shape)}`;
    throw invalid(`collect's ${name}: found ${found}, expected a Float32Array of ${what(expected)}`);
  }
  const unusable = firstUnusable(data);
  if (!unusable) return;
  const { position } = unusable;
  const rowLength = sizeOf(expected.slice(1));
  assert(rowLength > 0, 'a number is in a row of none');
  const place = `row ${Math.floor(position / rowLength) + 1}, number ${(position % rowLength) + 1}`;
  throw invalid(`collect's ${name}, ${place}: found ${data[position] ?? 'nothing'}, expected ${unusable.expected}`);
}

function invalid(problem: string): LockstepError {
  return new LockstepError('ERR_DATA_INVALID', `rollouts: ${problem}.`);
}
