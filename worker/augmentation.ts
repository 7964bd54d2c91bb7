/**
 * Rows that are changed at random each time they are trained on (the job's `data.augment`), where they are computed: what a row
 * becomes follows from the seed, the epoch and its number, and so is the same whoever reads it.
 */
import type { Augment, Batch, Dataset } from '../src/job/dataset.js';
import { withSeededRandom } from './compute/random.js';
import { changeBatch, formatOfBatch } from './data/change-batch.js';
import { describeRow } from './data/rows.js';

export interface AugmentationOptions {
  readonly augment: Augment;
  readonly data: Dataset;
  readonly seed: number;
}

export class Augmentation {
  readonly #options: AugmentationOptions;

  constructor(options: AugmentationOptions) {
    this.#options = options;
  }

  /** @throws LockstepError ERR_DATA_INVALID, naming the row */
  apply(batch: Batch, indices: ArrayLike<number>, epoch: number): Batch {
    const { augment, data, seed } = this.#options;
    const indexAt = (position: number): number => indices[position] ?? -1;
    return changeBatch(batch, {
      change: ({ x, y }, position) => {
        const key = { purpose: 'augmentation', seed, epoch, row: indexAt(position) } as const;
        // A copy: what is read may be the data's own memory, and is read again where a worker is lost.
        const row = { x: x.slice(), y: y.slice() };
        return withSeededRandom(key, () => augment(row, () => Math.random()));
      },
      name: 'the augment function',
      rowName: (position) => describeRow(data, indexAt(position)),
      format: { of: formatOfBatch(batch), asIn: 'the data' },
    }).batch;
  }
}
