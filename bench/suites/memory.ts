/** What a parameter costs a worker: its peak of resident memory over that of an idle engine, for 100 million of them. */
import { z } from 'zod';
import { jsonOfScript } from '../child.js';
import { numParameters } from '../jobs/hundred-million.js';
import type { RowPlan, Side, Suite } from '../suite.js';
import { measureTraining } from '../training-run.js';

const figure = 'bytes/parameter';
const idleSchema = z.object({ peakBytes: z.number() });

const cases = [
  { name: '1 worker', numWorkers: 1, target: null, set: [] },
  { name: '2 workers', numWorkers: 2, target: 26, set: [] },
  { name: '2 workers, sharded optimizer', numWorkers: 2, target: 22, set: ['optimizer.sharded=true'] },
] as const;

export function memorySuites(): Suite[] {
  const sides = cases.map(sideOf);
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

function sideOf({ name, numWorkers, set }: (typeof cases)[number]): Side {
  const measure = async () => {
    const idle = await jsonOfScript(idleSchema, 'idle-process.ts', []);
    const warmup = { steps: 2, seconds: 0 };
    const { peakBytes } = await measureTraining({ job: 'hundred-million.ts', numWorkers, seconds: 1, warmup, set });
    return { [figure]: (peakBytes - idle.peakBytes) / numParameters };
  };
  return { name, measure };
}
