/** What goes into a compiled step. */
import { assert } from '../../../src/errors.js';
import type { Batch } from '../../../src/job/dataset.js';
import { inputValues, labelValues } from '../batch.js';
import { statelessSeed } from '../random.js';
import type { SlotStep, StepKey } from '../step.js';
import type { Feed } from './step-graph.js';

/** The values of each placeholder at one slot. */
export function feedOf({ weights }: Pick<SlotStep, 'weights'>, batch: Batch, key: StepKey): Feed {
  return ({ role, index }) => {
    switch (role) {
      case 'weight': {
        const values = weights[index];
        assert(values, `Parameter ${index} has no weights`);
        return values;
      }
      case 'inputs':
        return inputValues(batch.x).values;
      case 'labels':
        return labelValues(batch.y).values;
      case 'seed':
        return statelessSeed({ purpose: 'step', ...key }, index);
    }
  };
}
