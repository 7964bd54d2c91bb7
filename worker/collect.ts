/** Rows that the model makes itself (`rollouts`), with the weights as they are now. */
import { assert, toLockstepError } from '../src/errors.js';
import type { Batch, CollectContext, Dataset } from '../src/job/dataset.js';
import type { RandomKey } from './compute/random.js';
import type { SlotStep } from './compute/step.js';
import { locate } from './locate.js';

export interface Collection {
  readonly model: Pick<SlotStep, 'predicting'>;
  readonly data: Dataset;
  /** What the rows follow from, besides the weights. */
  readonly key: RandomKey;
  readonly context: Pick<CollectContext, 'step' | 'slot' | 'numRows'>;
}

/** @throws LockstepError ERR_DATA_INVALID, and what the model throws */
export function collectRows({ model, data, key, context }: Collection): Batch {
  // That of the pass: one stream, whichever way it is drawn from.
  const random = (): number => Math.random();
  try {
    const batch = model.predicting(key, (predict) => data.collect?.({ ...context, random, predict }));
    assert(batch, 'rows were to be made by data that makes none');
    return batch;
  } catch (thrown) {
    throw locate(toLockstepError(thrown, 'ERR_DATA_INVALID'), data, [], context.step);
  }
}
