/**
 * The Euclidean norm of what a step is about to apply to all trainable parameters: the squares of each page are added up, and then
 * the pages, bucket by bucket. That order follows from the layout alone: chunks and blocks, which depend on who takes part,
 * do not show in the norm's bits.
 */
import type { AllReducePlan } from '../../src/collective/plan.js';
import { trainableIn } from '../../src/collective/payload.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { PageSquares } from './page-squares.js';
import type { Sums } from './sums.js';

export interface GradientNormOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly sums: Sums;
  /** Called between buckets. @default nobody is told */
  readonly pulse?: (() => void) | undefined;
}

/** Of a step whose results are all here, in this worker or as sums that it can make. Not of a sharded one (squares.ts). */
export function gradientNorm({ plan, memory, sums, pulse }: GradientNormOptions, step: number): number {
  let total = 0;
  for (const bucket of plan.buckets) {
    pulse?.();
    const { segment } = bucket;
    const onPage = (squares: number): void => {
      total += squares;
    };
    const pages = new PageSquares({ memory, segment, address: sums.spare(segment), onPage });
    for (const chunk of bucket.chunks) {
      sums.eachResult(bucket, chunk, step, (result, block) => {
        if (trainableIn(bucket, block) > 0) pages.take(result, block.elements);
      });
    }
    pages.end();
  }
  return Math.sqrt(total);
}
