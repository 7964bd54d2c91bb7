/**
 * GPT-2 of 124 million parameters on two workers: the time of a step and where it goes, and the workers' memory, with blocks kept
 * and recomputed; and how memory grows with the number of blocks.
 */
import { z } from 'zod';
import { jsonOfScript } from '../child.js';
import { rowTokens } from '../jobs/small-gpt2.js';
import type { Side, Suite } from '../suite.js';
import { measureTraining } from '../training-run.js';
import type { Context } from './context.js';

const ways = { kept: 'gpt2.ts', recomputed: 'gpt2-recomputed.ts' } as const;
type Way = keyof typeof ways;

const numWorkers = 2;
/** The model is made, recorded and checked first. */
const startTimeoutMs = 1_200_000;
const memoryFigure = 'GiB';
const gibibyte = 2 ** 30;

export function gpt2Suites(context: Context): Suite[] {
  return [trainingSuite(context), depthSuite()];
}

function trainingSuite(context: Context): Suite {
  const figure = 'tokens/s';
  const of = (side: Way, name: string) => ({ side, figure: name });
  return {
    name: 'gpt-2',
    sides: [trainingSide('kept', context), trainingSide('recomputed', context)],
    rows: [
      {
        name: `GPT-2, 124 million parameters, ${numWorkers} workers, ${rowTokens} tokens each, recomputed beside kept`,
        ...{ unit: figure, ours: of('recomputed', figure), peer: of('kept', figure) },
        ...{ better: 'higher', target: null },
      },
      ...(['kept', 'recomputed'] as const).map((way) => ({
        name: `GPT-2, memory of both workers, blocks ${way}`,
        ...{ unit: memoryFigure, ours: of(way, memoryFigure), peer: null },
        ...{ better: 'lower' as const, target: 24 },
      })),
    ],
    maxRounds: 1,
  };
}

function trainingSide(way: Way, { seconds }: Context): Side {
  const measure = async () => {
    const warmup = { steps: 6, seconds: 0 }; // the summary's times begin behind five
    const options = { job: ways[way], numWorkers, seconds, warmup, startTimeoutMs, watchesMemory: true };
    const { stepsPerSecond, memory, stepTime } = await measureTraining(options);
    const bytes = memory.reduce((sum, { ownBytes }) => sum + ownBytes, 0);
    const figures = { 'tokens/s': stepsPerSecond * numWorkers * rowTokens, [memoryFigure]: bytes / gibibyte };
    return { ...figures, secondsPerStep: 1 / stepsPerSecond, ...stepTime };
  };
  return { name: way, measure };
}

const depths = [4, 16] as const;
const depthSchema = z.object({ peakBytes: z.number(), prepareMs: z.number(), stepMs: z.number() });

function depthSuite(): Suite {
  const figure = 'MiB';
  const name = (blocks: number, way: Way): string => `${blocks} blocks ${way}`;
  const cases = depths.flatMap((blocks) => (['kept', 'recomputed'] as const).map((way) => ({ blocks, way })));
  const sides = cases.map(({ blocks, way }) => ({
    name: name(blocks, way),
    measure: async () => {
      const { peakBytes, stepMs } = await jsonOfScript(depthSchema, 'recompute-process.ts', [String(blocks), way]);
      return { [figure]: peakBytes / 2 ** 20, stepMs };
    },
  }));
  const rows = depths.map((blocks) => ({
    name: `peak memory of a process, ${blocks} blocks recomputed beside kept`,
    ...{
      unit: figure,
      ours: { side: name(blocks, 'recomputed'), figure },
      peer: { side: name(blocks, 'kept'), figure },
    },
    ...{ better: 'lower' as const, target: null },
  }));
  return { name: 'memory by depth', sides, rows, maxRounds: 1 };
}
