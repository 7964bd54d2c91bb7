/** The same numbers with another shape per row. */
import { LockstepError } from '../../src/errors.js';
import type { Batch, Column, Dataset } from '../../src/job/dataset.js';
import { combinedFingerprint, fingerprintOf } from './fingerprint.js';
import { sizeOf } from './row-store.js';
import { describeRow } from './rows.js';

/** Shapes of one row. One that is left out stays. */
export interface RowShapes {
  readonly x?: readonly number[];
  readonly y?: readonly number[];
}

/** Owns `parent` from now on. */
export async function reshapeRows(parent: Dataset, shapes: RowShapes): Promise<Dataset> {
  const reshape = ({ x, y }: Batch): Batch => ({
    x: reshapeColumn('x', x, shapes.x),
    y: reshapeColumn('y', y, shapes.y),
  });
  reshape(await parent.read([0]));
  return {
    length: parent.length,
    read: (indices, spare) => {
      const batch = parent.read(indices, spare);
      return batch instanceof Promise ? batch.then(reshape) : reshape(batch);
    },
    describe: (index) => describeRow(parent, index),
    fingerprint: async () => combinedFingerprint([await fingerprintOf(parent), 'reshape', shapes]),
    close: () => parent.close?.(),
  };
}

function reshapeColumn(name: string, { data, shape }: Column, wanted: readonly number[] | undefined): Column {
  if (!wanted) return { data, shape };
  const [numRows = 0, ...rowShape] = shape;
  if (sizeOf(wanted) === sizeOf(rowShape)) return { data, shape: [numRows, ...wanted] };
  const found = `${sizeOf(rowShape)} numbers per row of ${name} ([${rowShape.join(', ')}])`;
  const expected = `${sizeOf(wanted)} for the shape [${wanted.join(', ')}]`;
  throw new LockstepError('ERR_DATA_INVALID', `reshape: found ${found}, expected ${expected}.`);
}
