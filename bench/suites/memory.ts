/**
 * What a parameter costs a worker: its peak of memory over that of an idle engine, for 100 million of them. A page that two
 * workers have mapped counts half in each; another row counts it in both.
 */
import { z } from 'zod';
import { jsonOfScript } from '../child.js';
import { numParameters } from '../jobs/hundred-million.js';
import type { RowPlan, Side, Suite } from '../suite.js';
import type { PeakMemory } from '../peak-memory.js';
import { measureTraining } from '../training-run.js';

const figure = 'bytes/parameter';
const resident = 'resident bytes/parameter';
const idleSchema = z.object({ residentBytes: z.number(), ownBytes: z.number() });

const cases = [
  { name: '1 worker', numWorkers: 1, target: null, set: [] },
  { name: '2 workers', numWorkers: 2, target: 26, set: [] },
  { name: '2 workers, sharded optimizer', numWorkers: 2, target: 22, set: ['optimizer.sharded=true'] },
] as const;

export function memorySuites(): Suite[] {
  const sides = cases.map(sideOf);
  const rows = cases.flatMap(({ name, numWorkers, target }): RowPlan[] => {
    const row = { name: `memory of a worker, ${name}`, unit: figure, peer: null, better: 'lower' } as const;
    const counted = { ...row, name: `${row.name}, the peer's pages counted in both`, target: null };
    return [
      { ...row, ours: { side: name, figure }, target },
      ...(numWorkers > 1 ? [{ ...counted, ours: { side: name, figure: resident } }] : []),
    ];
  });
  return [{ name: 'memory', sides, rows, maxRounds: 1 }];
}

function sideOf({ name, numWorkers, set }: (typeof cases)[number]): Side {
  const measure = async () => {
    const idle = await jsonOfScript(idleSchema, 'idle-process.ts', []);
    const warmup = { steps: 2, seconds: 0 };
    const options = { job: 'hundred-million.ts', numWorkers, seconds: 1, warmup, set, watchesMemory: true };
    const { memory } = await measureTraining(options);
    const most = (what: keyof PeakMemory): number => Math.max(...memory.map((peak) => peak[what])) - idle[what];
    return { [figure]: most('ownBytes') / numParameters, [resident]: most('residentBytes') / numParameters };
  };
  return { name, measure };
}
