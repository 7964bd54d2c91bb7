/** What a commit changes: the optimizer on what is trainable; averages and scalars are assigned. */
import type { AllReducePlan, RoutedBucket } from '../../src/collective/plan.js';
import { trainableIn } from '../../src/collective/wire.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { applyOptimizer, momentRegions } from '../../src/optimizer/optimizer.js';
import { PARAMETERS, type FlatMemory } from '../../src/state/memory.js';
import { floatBytes, type Places, type Range } from './places.js';
import type { Sums } from './sums.js';

export interface UpdateOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly optimizer: OptimizerConfig;
  readonly places: Places;
  readonly sums: Sums;
}

export class Update {
  readonly #options: UpdateOptions;

  constructor(options: UpdateOptions) {
    this.#options = options;
  }

  /** Applies every bucket, block by block: so what is summed or unpacked here is still in the processor's cache. */
  apply(step: number): void {
    const { plan, sums } = this.#options;
    for (const bucket of plan.buckets) {
      for (const chunk of bucket.chunks) {
        sums.eachResult(bucket, chunk, step, (result, block) => {
          this.#applyBlock(bucket, block, result, step);
        });
      }
    }
  }

  #applyBlock(bucket: RoutedBucket, block: Range, gradient: number, step: number): void {
    const { memory, optimizer, places } = this.#options;
    const { segment } = bucket;
    const at = (region: string): number => places.address(region, segment, block.offset);
    if (trainableIn(bucket, block) > 0) {
      const moments = Object.fromEntries(momentRegions(optimizer).map((region) => [region, at(region)]));
      const addresses = { parameters: at(PARAMETERS), gradient, ...moments };
      applyOptimizer(optimizer, step + 1, memory.kernels(segment), addresses, block.elements);
      return;
    }
    const numBytes = block.elements * floatBytes;
    memory.bytes(segment, at(PARAMETERS), numBytes).set(memory.bytes(segment, gradient, numBytes));
  }
}
