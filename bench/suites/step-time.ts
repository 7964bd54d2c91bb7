/** Where the time of a step goes, in milliseconds, as two workers tell it in the summary. */
import type { Suite } from '../suite.js';
import { measureTraining } from '../training-run.js';
import type { Context } from './context.js';

const models = [
  { job: 'mlp.ts', name: 'MLP h=128, batch 32 each', batchSize: 32 },
  { job: 'cnn.ts', name: 'CNN 32-64, batch 64 each', batchSize: 64 },
  { job: 'wide-mlp.ts', name: 'MLP h=2048, batch 256 each', batchSize: 256 },
] as const;

/** Begins the names of suites of this kind. */
export const stepTimePrefix = 'step time: ';

export function stepTimeSuites({ seconds, skip }: Context): Suite[] {
  return models.map(({ job, name, batchSize }) => ({
    name: `${stepTimePrefix}${name}`,
    sides: [
      {
        name: 'lockstep',
        measure: async () => {
          const { stepTime } = await measureTraining({ job, numWorkers: 2, batchSize: 2 * batchSize, seconds });
          if (stepTime === null) skip('the summary has no stepTime: where the time of a step goes is left out');
          return stepTime;
        },
      },
    ],
    rows: [],
  }));
}
