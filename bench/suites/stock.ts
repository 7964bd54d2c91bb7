/** One worker beside stock tfjs on the same engine: the same model, batch size and rows, one thread each. */
import { join } from 'node:path';
import { z } from 'zod';
import { jsonOfScript, root } from '../child.js';
import type { Suite } from '../suite.js';
import { measureTraining } from '../training-run.js';
import type { Context } from './context.js';

const models = [
  { job: 'mlp.ts', name: 'MLP 784-128-128-10, batch 32', batchSize: 32, target: 6 },
  { job: 'cnn.ts', name: 'CNN 32-64, batch 64', batchSize: 64, target: 2.5 },
  { job: 'lstm.ts', name: 'LSTM 32, 20 steps, batch 32', batchSize: 32, target: 12 },
  { job: 'gpt.ts', name: 'GPT 4 layers, 128 wide, batch 8 × 64', batchSize: 8, target: 1.8 },
] as const;

const figure = 'samples/s';
const resultSchema = z.object({ samplesPerSecond: z.number() });

export function stockSuites({ seconds }: Context): Suite[] {
  return models.map(({ job, name, batchSize, target }) => ({
    name: `one worker: ${name}`,
    sides: [
      {
        name: 'lockstep',
        measure: async () => {
          const { stepsPerSecond } = await measureTraining({ job, numWorkers: 1, seconds });
          return { [figure]: stepsPerSecond * batchSize };
        },
      },
      {
        name: 'tfjs model.fit',
        measure: async () => {
          const args = [join(root, 'bench', 'jobs', job), String(seconds)];
          const { samplesPerSecond } = await jsonOfScript(resultSchema, 'stock-process.ts', args);
          return { [figure]: samplesPerSecond };
        },
      },
    ],
    rows: [
      {
        name: `one worker, ${name}`,
        unit: figure,
        ours: { side: 'lockstep', figure },
        peer: { side: 'tfjs model.fit', figure },
        better: 'higher',
        target,
      },
    ],
  }));
}
