/** Parts of the data that have no row in common and together have all. */
import { LockstepError } from '../../src/errors.js';
import type { Dataset } from '../../src/job/dataset.js';
import { permutation } from '../../src/job/sampler.js';
import { combinedFingerprint, fingerprintOf } from './fingerprint.js';
import { describeRow } from './rows.js';

export type SplitPart = 'train' | 'validation' | 'test';

export interface SplitOptions {
  /** Part of the rows held out for validation, 0 to 1. @default 0 */
  readonly validation?: number;
  /** Part of the rows held out for a test, 0 to 1. @default 0 */
  readonly test?: number;
  /** 0 to 2^32 - 1. @default 0 */
  readonly seed?: number;
}

/** Owns `parent` from now on. */
export function splitRows(parent: Dataset, part: SplitPart, options: SplitOptions): Dataset {
  const rows = rowsOf(parent.length, part, options);
  return {
    length: rows.length,
    read: (indices, spare) =>
      parent.read(
        Uint32Array.from(indices, (index) => rows[index] ?? parent.length),
        spare,
      ),
    describe: (index) => describeRow(parent, rows[index] ?? -1),
    fingerprint: async () => combinedFingerprint([await fingerprintOf(parent), 'split', part, options]),
    close: () => parent.close?.(),
  };
}

function rowsOf(numRows: number, part: SplitPart, { validation = 0, test = 0, seed = 0 }: SplitOptions): Uint32Array {
  const numValidation = Math.round(numRows * validation);
  const numTest = Math.round(numRows * test);
  const numTrain = numRows - numValidation - numTest;
  const sizes = { validation: numValidation, test: numTest, train: numTrain };
  if (!(sizes[part] > 0 && validation >= 0 && test >= 0 && numTrain >= 0)) {
    const found = `validation ${validation} and test ${test} of ${numRows} rows`;
    throw new LockstepError(
      'ERR_DATA_INVALID',
      `split: found ${found}, which leaves no rows for ${part}; expected parts that have rows.`,
    );
  }
  const first = { validation: 0, test: numValidation, train: numValidation + numTest }[part];
  const positionOf = permutation({ size: numRows, seed, use: 'split' });
  const rows = new Uint32Array(sizes[part]);
  for (let row = 0, used = 0; row < numRows; row++) {
    const position = positionOf(row) - first;
    if (position >= 0 && position < rows.length) rows[used++] = row;
  }
  return rows;
}
