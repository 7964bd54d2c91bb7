/** Rows changed by a function of the job file. */
import type { Batch, ChangedRow, Dataset, Row } from '../../src/job/dataset.js';
import { changeBatch, type RowFormat } from './change-batch.js';
import { changeRows } from './changed-rows.js';
import { defaultMemoryLimitBytes } from './row-store.js';

/** As many numbers as before keep their shape; another number of them, the same for all rows, is flat. */
export type RowMap = (row: Row) => ChangedRow;

/** Owns `parent` from now on. */
export async function mapRows(
  parent: Dataset,
  change: RowMap,
  { memoryLimitBytes = defaultMemoryLimitBytes }: { readonly memoryLimitBytes?: number },
): Promise<Dataset> {
  let format: RowFormat | undefined;
  const apply = (batch: Batch, rowName: (position: number) => string): Batch => {
    const known = format && { of: format, asIn: 'the first row' };
    const changed = changeBatch(batch, {
      change: (row) => change(row),
      name: 'the map function',
      rowName,
      format: known,
    });
    format = changed.format;
    return changed.batch;
  };
  return changeRows(parent, { apply, identity: ['map', change.toString()], memoryLimitBytes });
}
