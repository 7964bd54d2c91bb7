/** A second copy of parameters and moments, as they are between two steps, for a writer beside the steps that follow. */
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions } from '../../src/optimizer/optimizer.js';
import { bytesOf } from '../../src/state/digest.js';
import { FlatMemory, PARAMETERS, type RegionPlan } from '../../src/state/memory.js';

export class Snapshot {
  /** The copy; it has those regions alone. */
  readonly memory: FlatMemory;
  readonly #source: FlatMemory;

  private constructor(source: FlatMemory, memory: FlatMemory) {
    this.#source = source;
    this.memory = memory;
  }

  /** @throws LockstepError ERR_MEMORY */
  static of(source: FlatMemory, optimizer: OptimizerConfig): Snapshot {
    return new Snapshot(source, FlatMemory.create(source.layout, regionsOf(source, optimizer)));
  }

  /** Bytes that a copy takes: 12 for each parameter with Adam. */
  static sizeOf(source: FlatMemory, optimizer: OptimizerConfig): number {
    const elements = regionsOf(source, optimizer).flatMap((region) => region.elements);
    return elements.reduce((sum, count) => sum + count, 0) * Float32Array.BYTES_PER_ELEMENT;
  }

  /** Copies, at the speed of the machine's memory; nobody may change the source meanwhile. */
  take(): void {
    for (const region of this.memory.regions) {
      for (const [segment] of this.memory.layout.segments.entries()) {
        const target = this.memory.view(region, segment);
        bytesOf(target).set(bytesOf(this.#source.view(region, segment).subarray(0, target.length)));
      }
    }
  }
}

function regionsOf({ layout }: FlatMemory, optimizer: OptimizerConfig): RegionPlan[] {
  const whole = layout.segments.map(({ elements }) => elements);
  const trainable = layout.segments.map(({ trainableElements }) => trainableElements);
  return [
    { name: PARAMETERS, elements: whole },
    ...momentRegions(optimizer).map((name) => ({ name, elements: trainable })),
  ];
}
