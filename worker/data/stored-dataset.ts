/** A dataset whose x and y are ranges of stored rows. */
import type { Batch, Column, Dataset } from '../../src/job/dataset.js';
import type { Values } from './element.js';
import { sizeOf, type RowStore } from './row-store.js';

/** The numbers from `start` on in each row of a store, as one array of this shape per row. */
export interface Field {
  readonly store: RowStore;
  readonly start: number;
  /** [] counts as [1]: rows of single numbers make a batch of the shape [rows, 1]. */
  readonly rowShape: readonly number[];
}

export interface StoredDatasetOptions {
  readonly x: Field;
  /** As many rows as x; may be in the same store. */
  readonly y: Field;
  /** Where a row comes from. */
  readonly describe: (index: number) => string;
  readonly fingerprint: () => string | Promise<string>;
  /** Called after the stores are closed. */
  readonly close?: () => void | Promise<void>;
}

export class StoredDataset implements Dataset {
  readonly #options: StoredDatasetOptions;

  constructor(options: StoredDatasetOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#options.x.store.numRows;
  }

  read(indices: ArrayLike<number>, spare?: Batch): Batch | Promise<Batch> {
    const x = readField(this.#options.x, indices, spare?.x);
    const y = readField(this.#options.y, indices, spare?.y);
    if (x instanceof Promise || y instanceof Promise) {
      return Promise.all([x, y]).then(([xColumn, yColumn]) => ({ x: xColumn, y: yColumn }));
    }
    return { x, y };
  }

  describe(index: number): string {
    return this.#options.describe(index);
  }

  fingerprint(): string | Promise<string> {
    return this.#options.fingerprint();
  }

  async close(): Promise<void> {
    const { x, y, close } = this.#options;
    await Promise.all([...new Set([x.store, y.store])].map((store) => store.close()));
    await close?.();
  }
}

function readField(
  { store, start, rowShape }: Field,
  indices: ArrayLike<number>,
  spare: Column | undefined,
): Column | Promise<Column> {
  const asColumn = (data: Values): Column => ({
    data,
    shape: [indices.length, ...(rowShape.length > 0 ? rowShape : [1])],
  });
  const values = store.read(indices, start, start + sizeOf(rowShape), spare?.data);
  return values instanceof Promise ? values.then(asColumn) : asColumn(values);
}
