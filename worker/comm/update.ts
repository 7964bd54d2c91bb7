/** What a commit changes: the optimizer on what is trainable; averages and scalars are assigned. */
import type { AllReducePlan, RoutedBucket } from '../../src/collective/plan.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { applyOptimizer, momentRegions } from '../../src/optimizer/optimizer.js';
import { PARAMETERS, type FlatMemory } from '../../src/state/memory.js';
import type { Partials, Range } from './partials.js';

const floatBytes = 4;

export interface UpdateOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly optimizer: OptimizerConfig;
  readonly partials: Partials;
}

export class Update {
  readonly #options: UpdateOptions;

  constructor(options: UpdateOptions) {
    this.#options = options;
  }

  /** Applies every bucket. Where this rank sums for itself, it does so here, while the sum is in the processor's cache. */
  apply(step: number): void {
    const { plan, partials } = this.#options;
    for (const bucket of plan.buckets) {
      for (const chunk of bucket.chunks) {
        if (chunk.owner === null) {
          const consume = (sum: number, block: Range): void => {
            this.#applyRange(bucket, block, sum, step);
          };
          partials.eachSum(bucket, chunk, step, { consume });
        } else this.#applyRange(bucket, chunk, partials.resultAddress(bucket, chunk), step);
      }
    }
  }

  #applyRange(bucket: RoutedBucket, { offset, elements }: Range, gradient: number, step: number): void {
    const { memory, optimizer } = this.#options;
    const { segment } = bucket;
    const at = (region: string): number => memory.address(region, segment) + offset * floatBytes;
    const trainable = Math.min(elements, Math.max(0, bucket.offset + bucket.trainableElements - offset));
    if (trainable > 0) {
      const moments = Object.fromEntries(momentRegions(optimizer).map((region) => [region, at(region)]));
      const addresses = { parameters: at(PARAMETERS), gradient, ...moments };
      applyOptimizer(optimizer, step + 1, memory.kernels(segment), addresses, trainable);
    }
    if (trainable === elements) return;
    const skipped = trainable * floatBytes;
    const numBytes = elements * floatBytes - skipped;
    memory.bytes(segment, at(PARAMETERS) + skipped, numBytes).set(memory.bytes(segment, gradient + skipped, numBytes));
  }
}
