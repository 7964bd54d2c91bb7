/**
 * The Euclidean norm of what a step is about to apply to all trainable parameters. Squares are summed in float64, in an order
 * that follows from the layout alone: chunks and blocks, which depend on who takes part, do not show in its bits.
 */
import type { AllReducePlan } from '../../src/collective/plan.js';
import { trainableIn } from '../../src/collective/payload.js';
import { numSquareSums } from '../../src/kernels/kernels.js';
import type { FlatMemory } from '../../src/state/memory.js';
import type { Sums } from './sums.js';

export interface GradientNormOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly sums: Sums;
  /** Called between buckets. @default nobody is told */
  readonly pulse?: (() => void) | undefined;
}

/** Of a step whose results are all here, in this worker or as sums that it can make. */
export function gradientNorm(options: GradientNormOptions, step: number): number {
  const { layout } = options.memory;
  const squares = layout.segments.reduce((sum, _, segment) => sum + squaresOf(options, segment, step), 0);
  return Math.sqrt(squares);
}

function squaresOf({ plan, memory, sums, pulse }: GradientNormOptions, segment: number, step: number): number {
  const { sumSquares } = memory.kernels(segment);
  const address = sums.spare(segment);
  const bytes = memory.bytes(segment, address, numSquareSums * Float64Array.BYTES_PER_ELEMENT);
  const totals = new Float64Array(bytes.buffer, bytes.byteOffset, numSquareSums).fill(0);
  for (const bucket of plan.buckets) {
    if (bucket.segment !== segment) continue;
    pulse?.();
    for (const chunk of bucket.chunks) {
      sums.eachResult(bucket, chunk, step, (result, block) => {
        if (trainableIn(bucket, block) > 0) sumSquares(address, result, block.elements);
      });
    }
  }
  return totals.reduce((sum, total) => sum + total, 0);
}
