/** What a commit changes: the optimizer on what is trainable; averages and scalars are assigned. */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { trainableIn } from '../../src/collective/payload.js';
import { assert } from '../../src/errors.js';
import type { Kernels } from '../../src/kernels/kernels.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { applyOptimizer, AVERAGE, sharedRegions, type OptimizerRange } from '../../src/optimizer/optimizer.js';
import { planTreatments, treatedParts, type TreatedRange } from '../../src/optimizer/treatment.js';
import { PARAMETERS, type FlatMemory } from '../../src/state/memory.js';
import { gradientNorm } from './gradient-norm.js';
import { floatBytes, type Places, type Range } from './places.js';
import type { SharedPages } from './shared-pages.js';
import type { Sums } from './sums.js';

export interface UpdateOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly optimizer: OptimizerConfig;
  readonly places: Places;
  readonly sums: Sums;
  /** What makes the kernels faster on this machine; null: nothing. @default null */
  readonly native?: Pick<SharedPages, 'accelerate'> | null | undefined;
  /** Called between buckets: meanwhile this thread does nothing else, for a second and more in a large model. */
  readonly pulse?: (() => void) | undefined;
}

type Stepped = Pick<OptimizerRange, 'parameters' | 'gradient'>;

export class Update {
  readonly #options: UpdateOptions;
  /** By segment. */
  readonly #kernels: readonly Kernels[];
  readonly #treatments: readonly (readonly TreatedRange[])[];

  constructor(options: UpdateOptions) {
    const { memory, native, optimizer } = options;
    this.#options = options;
    this.#kernels = memory.layout.segments.map((_, segment) => {
      const kernels = memory.kernels(segment);
      return native?.accelerate(kernels, memory.bytes(segment)) ?? kernels;
    });
    this.#treatments = planTreatments(memory.layout, optimizer);
  }

  /** Applies every bucket, block by block: so what is summed or unpacked here is still in the processor's cache. */
  apply(step: number): void {
    const { plan, sums, pulse } = this.#options;
    const scale = plan.isSharded ? 1 : this.#gradientScale(step);
    for (const bucket of plan.buckets) {
      pulse?.();
      for (const chunk of bucket.chunks) {
        sums.eachResult(bucket, chunk, step, (result, block) => {
          this.#applyBlock(bucket, block, { result, scale }, step);
        });
      }
    }
  }

  #applyBlock(
    bucket: RoutedBucket,
    block: Range,
    { result, scale }: { readonly result: number; readonly scale: number },
    step: number,
  ): void {
    const { plan, places, memory, optimizer } = this.#options;
    const { segment } = bucket;
    const { elements } = block;
    const parameters = places.address(PARAMETERS, segment, block.offset);
    const isTrained = trainableIn(bucket, block) > 0;
    if (isTrained && !plan.isSharded) {
      const gradient = this.#scaled(segment, result, block, scale);
      this.#optimize(bucket, block, { parameters, gradient }, step);
    } else this.#copy(segment, result, parameters, elements);
    if (!isTrained || optimizer.averageDecay === undefined) return;
    const average = places.address(AVERAGE, segment, block.offset);
    memory.kernels(segment).average(average, parameters, elements, optimizer.averageDecay);
  }

  /** A step that was skipped has metrics, and its loss is NaN: so whoever has the state can tell. Nothing else changes. */
  skip(step: number): void {
    const { plan, memory, sums } = this.#options;
    const { segment, offset } = memory.layout.scalars;
    const scalars = memory.view(PARAMETERS, segment).subarray(offset, offset + memory.layout.numScalars);
    for (const bucket of plan.buckets) {
      if (bucket.segment !== segment) continue;
      for (const chunk of bucket.chunks) {
        if (chunk.offset + chunk.elements <= offset || chunk.offset >= offset + scalars.length) continue;
        sums.eachResult(bucket, chunk, step, (address, block) => {
          const bytes = memory.bytes(segment, address, block.elements * floatBytes);
          const values = new Float32Array(bytes.buffer, bytes.byteOffset, block.elements);
          for (const index of scalars.keys())
            scalars[index] = values[offset + index - block.offset] ?? scalars[index] ?? NaN;
        });
      }
    }
    scalars[0] = NaN;
  }

  /** Makes new weights of the sum of a chunk, in its place. The parameters stay as they are until the commit. */
  advance(bucket: RoutedBucket, chunk: Chunk, step: number, scale = 1): void {
    const { sums, places } = this.#options;
    const { segment } = bucket;
    const parameters = sums.scratch(segment);
    for (const block of sums.blocks(bucket, chunk)) {
      if (trainableIn(bucket, block) === 0) continue;
      const result = places.result(bucket, chunk, block.offset);
      this.#copy(segment, places.address(PARAMETERS, segment, block.offset), parameters, block.elements);
      const gradient = this.#scaled(segment, result, block, scale);
      this.#optimize(bucket, block, { parameters, gradient }, step);
      this.#copy(segment, parameters, result, block.elements);
    }
  }

  /** What a gradient of this norm is multiplied by, so that it has the job's `clipNorm` at most. */
  scaleOf(norm: number): number {
    const { clipNorm = Infinity } = this.#options.optimizer;
    return norm > clipNorm ? clipNorm / norm : 1;
  }

  #gradientScale(step: number): number {
    if (this.#options.optimizer.clipNorm === undefined) return 1;
    return this.scaleOf(gradientNorm(this.#options, step));
  }

  /** Aside: a result may lie in the memory of a peer, or be a partial that counts until the commit. */
  #scaled(segment: number, result: number, { elements }: Range, scale: number): number {
    if (scale === 1) return result;
    const { memory, sums } = this.#options;
    const scaled = sums.spare(segment);
    memory.kernels(segment).scale(scaled, result, scale, elements);
    return scaled;
  }

  #optimize(bucket: RoutedBucket, block: Range, { parameters, gradient }: Stepped, step: number): void {
    const { optimizer, places } = this.#options;
    const kernels = this.#kernels[bucket.segment];
    assert(kernels, `there is no segment ${bucket.segment}`);
    for (const part of treatedParts(this.#treatments[bucket.segment] ?? [], block)) {
      const bytesBefore = (part.offset - block.offset) * floatBytes;
      const moments = Object.fromEntries(
        sharedRegions(optimizer).map((region) => [region, places.moment(region, bucket, part.offset)]),
      );
      const addresses = { parameters: parameters + bytesBefore, gradient: gradient + bytesBefore, ...moments };
      const elements = part.end - part.offset;
      applyOptimizer({ config: optimizer, t: step + 1, treatment: part }, kernels, { ...addresses, elements });
    }
  }

  #copy(segment: number, source: number, destination: number, elements: number): void {
    this.#options.memory.kernels(segment).copy(destination, source, elements * floatBytes);
  }
}
