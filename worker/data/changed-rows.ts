/**
 * A dataset whose rows are made from another's, one from one. Where all of them fit in memory they are made once, when the
 * data is opened, so that reading is a copy and every wrong row is found before training begins.
 */
import type { Batch, Column, Dataset } from '../../src/job/dataset.js';
import type { Values, ValuesConstructor } from './element.js';
import { fingerprintOf, combinedFingerprint } from './fingerprint.js';
import { MemoryRows } from './row-store.js';
import { blocksOf, describeRow } from './rows.js';
import { StoredDataset } from './stored-dataset.js';

export interface RowChange {
  /** Makes the rows of a batch; `rowName(i)` says where the batch's row `i` comes from. Same shape and type for all rows. */
  readonly apply: (batch: Batch, rowName: (position: number) => string) => Batch;
  /** Plain data: what the change is. */
  readonly identity: readonly unknown[];
  readonly memoryLimitBytes: number;
}

/** Owns `parent` from now on. */
export async function changeRows(parent: Dataset, change: RowChange): Promise<Dataset> {
  const read = async (indices: ArrayLike<number>): Promise<Batch> =>
    change.apply(await parent.read(indices), (position) => describeRow(parent, indices[position] ?? -1));
  const first = await read([0]);
  const members = {
    describe: (index: number) => describeRow(parent, index),
    fingerprint: async () => combinedFingerprint([await fingerprintOf(parent), ...change.identity]),
    close: () => parent.close?.(),
  };
  const numBytes = (first.x.data.byteLength + first.y.data.byteLength) * parent.length;
  if (numBytes > change.memoryLimitBytes) return { length: parent.length, read, ...members };

  const x = emptyRows(first.x, parent.length);
  const y = emptyRows(first.y, parent.length);
  for (const indices of blocksOf(parent.length)) {
    const batch = await read(indices);
    x.set(batch.x.data, (indices[0] ?? 0) * first.x.data.length);
    y.set(batch.y.data, (indices[0] ?? 0) * first.y.data.length);
  }
  const field = (values: Values, { shape }: Column) => {
    return { store: new MemoryRows(values, parent.length), start: 0, rowShape: shape.slice(1) };
  };
  return new StoredDataset({ x: field(x, first.x), y: field(y, first.y), ...members });
}

function emptyRows({ data }: Column, numRows: number): Values {
  return new (data.constructor as ValuesConstructor)(data.length * numRows); // Values has no other classes
}
