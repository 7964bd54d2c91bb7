/** What a parameter costs a worker: its peak of resident memory over that of an idle engine, for 100 million of them. */
import { z } from 'zod';
import { jsonOfScript } from '../child.js';
import { numParameters } from '../jobs/hundred-million.js';
import type { RowPlan, Side, Suite } from '../suite.js';
import { measureTraining } from '../training-run.js';
import type { Context } from './context.js';

const figure = 'bytes/parameter';
const idleSchema = z.object({ peakBytes: z.number() });

const cases = [
  { name: '1 worker', numWorkers: 1, target: null, set: [] },
  { name: '2 workers', numWorkers: 2, target: 26, set: [] },
  { name: '2 workers, sharded optimizer', numWorkers: 2, target: 22, set: ['optimizer.sharded=true'] },
] as const;

export function memorySuites(context: Context): Suite[] {
  const sides = cases.map((one) => sideOf(one, context));
  const rows = cases.map(({ name, target }): RowPlan => ({
    name: `memory of a worker, ${name}`,
    unit: figure,
    ours: { side: name, figure },
    peer: null,
    better: 'lower',
    target,
  }));
  return [{ name: 'memory', sides, rows, maxRounds: 1 }];
}

function sideOf({ name, numWorkers, set }: (typeof cases)[number], { skip }: Context): Side {
  const measure = async () => {
    try {
      const idle = await jsonOfScript(idleSchema, 'idle-process.ts', []);
      const warmup = { steps: 2, seconds: 0 };
      const run = { job: 'hundred-million.ts', numWorkers, seconds: 1, warmup, set };
      const { peakBytes } = await measureTraining(run);
      return { [figure]: (peakBytes - idle.peakBytes) / numParameters };
    } catch (error) {
      const cannot = String(error).includes('Unrecognized key: "sharded"');
      if (!cannot) throw error;
      skip('the optimizer cannot be sharded yet: its memory is left out');
      return null;
    }
  };
  return { name, measure };
}
