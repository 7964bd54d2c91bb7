/**
 * Looks for NaN and infinities in what a step is about to apply: the reduced gradients, the averages and the loss. Every worker
 * sees the same sums, so all of them find the same. Metrics may be what they like.
 */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { LockstepError } from '../../src/errors.js';
import type { Layout } from '../../src/state/layout.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { floatBytes, type Range } from './places.js';
import { slotRegion } from './regions.js';
import type { Sums } from './sums.js';

/** A value that is not finite. */
export interface NotFinite {
  /** Such as `the gradient of dense1/kernel`: the first one in the order of the flat state. */
  readonly what: string;
  /** The first own slot that has it; null: none of this worker's. */
  readonly slot: number | null;
}

/** How long whoever has the slot has time to name it. */
export const namingMs = 5_000;

/** Why a step is skipped, for one worker to say: who has the slot, or rank 0; null for the others. */
export function skippedText(step: number, { what, slot }: NotFinite, rank: number): string | null {
  if (slot !== null) return `step ${step} is skipped: ${what} of slot ${slot} is not finite`;
  return rank === 0 ? `step ${step} is skipped: ${what} is not finite` : null;
}

/** Such as "The gradient of dense1/kernel of slot 3 at step 20 is not finite …". */
export function notFiniteError(step: number, { what, slot }: NotFinite): LockstepError {
  const where = slot === null ? `at step ${step}` : `of slot ${slot} at step ${step}`;
  const found = `${what.charAt(0).toUpperCase()}${what.slice(1)} ${where} is not finite`;
  const next = "Lower the learning rate, or look at the data and the loss; onNotFinite: 'skip' leaves such steps out.";
  const message = `${found}; the weights are as they were before. ${next}`;
  return new LockstepError('ERR_NOT_FINITE', message, { details: { step, slot, what } });
}

export class Finiteness {
  readonly #plan: AllReducePlan;
  readonly #memory: FlatMemory;
  readonly #sums: Sums;

  constructor(plan: AllReducePlan, memory: FlatMemory, sums: Sums) {
    this.#plan = plan;
    this.#memory = memory;
    this.#sums = sums;
  }

  /** Whether a chunk's result is finite. Reads it block by block, as the optimizer will. */
  isFinite(bucket: RoutedBucket, chunk: Chunk, step: number): boolean {
    let isFinite = true;
    this.#sums.eachResult(bucket, chunk, step, (address, block) => {
      if (!this.isBlockFinite(bucket, address, block)) isFinite = false;
    });
    return isFinite;
  }

  /** Whether a block of a result is finite that lies at `address`. */
  isBlockFinite({ segment }: RoutedBucket, address: number, { offset, elements }: Range): boolean {
    const numChecked = Math.min(elements, checkedElements(this.#memory.layout, segment) - offset);
    return numChecked <= 0 || this.#memory.kernels(segment).allFinite(address, numChecked);
  }

  /** What it is, where a chunk of the step is not finite. */
  find(step: number): NotFinite {
    for (const slot of this.#plan.slots) {
      const what = this.#findInSlot(slot);
      if (what !== null) return { what, slot };
    }
    return { what: this.#findInResults(step) ?? 'a sum of gradients', slot: null };
  }

  #findInSlot(slot: number): string | null {
    const { layout } = this.#memory;
    for (const segment of layout.segments.keys()) {
      const values = this.#memory.view(slotRegion(slot), segment).subarray(0, checkedElements(layout, segment));
      const at = values.findIndex((value) => !Number.isFinite(value));
      if (at >= 0) return nameOf(layout, segment, at);
    }
    return null;
  }

  #findInResults(step: number): string | null {
    const { layout } = this.#memory;
    for (const bucket of this.#plan.buckets) {
      const end = checkedElements(layout, bucket.segment);
      for (const chunk of bucket.chunks) {
        const found: number[] = [];
        this.#sums.eachResult(bucket, chunk, step, (address, { offset, elements }) => {
          const bytes = this.#memory.bytes(
            bucket.segment,
            address,
            Math.max(0, Math.min(elements, end - offset)) * floatBytes,
          );
          const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / floatBytes);
          const at = values.findIndex((value) => !Number.isFinite(value));
          if (at >= 0) found.push(offset + at);
        });
        const [first] = found;
        if (first !== undefined) return nameOf(layout, bucket.segment, first);
      }
    }
    return null;
  }
}

/** Elements of a segment before its metrics, which follow the loss, the first scalar. */
function checkedElements({ segments, scalars, numScalars }: Layout, segment: number): number {
  if (segment === scalars.segment && numScalars > 0) return scalars.offset + 1;
  return segments[segment]?.reducedElements ?? 0;
}

function nameOf({ parameters, scalars }: Layout, segment: number, at: number): string {
  if (segment === scalars.segment && at === scalars.offset) return 'the loss';
  const parameter = parameters.find((one) => one.segment === segment && at >= one.offset && at < one.offset + one.size);
  const of = parameter?.trainable === false ? 'the average' : 'the gradient of';
  return `${of} ${parameter?.name ?? `element ${at} of segment ${segment}`}`;
}
