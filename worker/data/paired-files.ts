/** A dataset of two binary files, one with the inputs and one with what to predict, row by row. */
import type { Dataset, OpenContext } from '../../src/job/dataset.js';
import { openBinaryRows, type BinaryRows, type ReadHeader } from './binary-rows.js';
import { invalidData } from './file.js';
import { combinedFingerprint } from './fingerprint.js';
import { defaultMemoryLimitBytes } from './row-store.js';
import { Source } from './source.js';
import { StoredDataset } from './stored-dataset.js';

export interface PairedFiles {
  /** File of the inputs, relative to the job file; `.gz` too. */
  readonly x: string;
  /** File of what to predict, with as many rows; the same file is opened once. */
  readonly y: string;
  /** A larger file is read row by row instead of being held in memory. @default 256 MiB */
  readonly memoryLimitBytes?: number;
}

export function pairedFiles(format: string, files: PairedFiles, readHeader: ReadHeader): Source {
  const { x, y, memoryLimitBytes = defaultMemoryLimitBytes } = files;
  const open = (name: string, context: OpenContext) => openBinaryRows(name, { readHeader, memoryLimitBytes }, context);
  return new Source(async (context) => {
    const opened: BinaryRows[] = [];
    try {
      const xRows = await open(x, context);
      opened.push(xRows);
      const yRows = y === x ? xRows : await open(y, context);
      opened.push(yRows);
      return pair(format, { x, y }, xRows, yRows);
    } catch (error) {
      await Promise.all(opened.map(({ store }) => store.close()));
      throw error;
    }
  });
}

function pair(format: string, names: Pick<PairedFiles, 'x' | 'y'>, x: BinaryRows, y: BinaryRows): Dataset {
  if (x.store.numRows !== y.store.numRows) {
    const expected = `as many as the ${x.store.numRows} of ${names.x}`;
    throw invalidData({ file: names.y }, `found ${y.store.numRows} rows, expected ${expected}`);
  }
  const field = ({ store, rowShape }: BinaryRows) => ({ store, start: 0, rowShape });
  return new StoredDataset({
    x: field(x),
    y: field(y),
    describe: (index) => `${names.x}, row ${index + 1}`,
    fingerprint: () => combinedFingerprint([format, x.sha256, y.sha256]),
  });
}
