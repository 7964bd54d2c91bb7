/**
 * The gradients of this worker's slots at one step: reads the rows, computes, and leaves weighted partials in memory. A
 * slot's partial is the sum of its micro-batches' gradients, each times its share of the batch's rows, added in their order.
 * Partials that lie there from the generation before are not computed again.
 */
import { LockstepError } from '../src/errors.js';
import type { Batch, Dataset } from '../src/job/dataset.js';
import { cutRows, sliceBatch } from '../src/job/micro-batches.js';
import type { Sampler } from '../src/job/sampler.js';
import type { FlatMemory } from '../src/state/memory.js';
import type { SlotRange } from '../src/collective/assignment.js';
import type { Augmentation } from './augmentation.js';
import { noPartials, slotsToCompute, withPartial } from '../src/collective/kept-partials.js';
import { slotRegion } from './comm/regions.js';
import { contribute, type BucketSignals, type Contribution } from './compute/contribution.js';
import type { Measurements, SlotOutputs, SlotStep, StepKey } from './compute/step.js';
import { locate } from './locate.js';
import type { Readiness } from './readiness.js';
import { SlotReader, type SlotRows } from './slot-reader.js';

export interface GradientsOptions {
  readonly step: SlotStep;
  readonly memory: FlatMemory;
  readonly sampler: Sampler;
  readonly data: Dataset;
  /** What becomes of the rows, each time. @default they stay */
  readonly augmentation?: Augmentation;
  readonly seed: number;
  /** Parts in which a slot's gradient is computed. */
  readonly microBatches: number;
  /** What becomes of a loss that is not: `skip` leaves it to the sum of all slots. */
  readonly onNotFinite: 'stop' | 'skip';
}

/** One micro-batch of a slot. */
interface Part {
  readonly key: StepKey;
  readonly indices: Uint32Array;
  readonly batch: Batch;
  readonly contribution: Contribution;
}

export class Gradients {
  /** Of the slots whose partials are not there. */
  readonly rows: SlotReader;
  readonly #options: GradientsOptions;
  readonly #outputs = new Map<number, SlotOutputs>();
  #slots: SlotRange = { firstSlot: 0, endSlot: 0 };
  #kept = noPartials;

  constructor(options: GradientsOptions) {
    this.#options = options;
    const slotsAt = (step: number): readonly number[] => slotsToCompute(this.#kept, step, this.#slots);
    this.rows = new SlotReader({ ...options, slotsAt });
  }

  /** The slots of a generation. */
  enter(slots: SlotRange): void {
    this.#slots = slots;
    this.rows.forget();
  }

  /**
   * Ends early where the generation does, with the partials that are there by then.
   *
   * @param readiness is told of each bucket that all slots have
   * @throws LockstepError ERR_NOT_FINITE, ERR_LABEL_OUT_OF_RANGE, and what the model throws
   */
  compute(step: number, batches: readonly SlotRows[], readiness: Readiness): void {
    for (const [index, rows] of batches.entries()) {
      if (readiness.isOver) return;
      // Partials are complete, bucket by bucket, while the last slot is computed.
      this.#computeSlot(step, rows, index === batches.length - 1 ? readiness.during(step) : undefined);
      this.#kept = withPartial(this.#kept, step, rows.slot);
      this.rows.reuse(rows);
    }
    readiness.finish(step);
  }

  #computeSlot(step: number, { slot, indices, batch }: SlotRows, signals: BucketSignals | undefined): void {
    const { memory, sampler, seed, microBatches } = this.#options;
    if (!batch) {
      for (const [segment] of memory.layout.segments.entries()) memory.view(slotRegion(slot), segment).fill(0);
      return;
    }
    const outputs = this.#outputs.get(slot) ?? slotOutputs(memory, slotRegion(slot));
    this.#outputs.set(slot, outputs);
    const ranges = cutRows(indices.length, microBatches);
    for (const [microBatch, range] of ranges.entries()) {
      this.#computePart(outputs, {
        key: { seed, step, slot, microBatch },
        indices: indices.subarray(range.first, range.end),
        batch: ranges.length === 1 ? batch : sliceBatch(batch, range),
        contribution: {
          // The rows' share of the batch, so that the sum over all is the mean over the rows.
          weight: (range.end - range.first) / sampler.batchRows(step),
          accumulate: microBatch > 0,
          signals: microBatch === ranges.length - 1 ? signals : undefined,
        },
      });
    }
  }

  #computePart(outputs: SlotOutputs, part: Part): void {
    const { memory } = this.#options;
    const { loss, metrics } = this.#gradient(outputs, part);
    const { step, slot } = part.key;
    if (!Number.isFinite(loss) && this.#options.onNotFinite === 'stop') {
      const message = `The loss of slot ${slot} at step ${step} is ${loss}; it has to be finite. Lower the learning rate, or look at the data and the loss; onNotFinite: 'skip' leaves such steps out.`;
      throw new LockstepError('ERR_NOT_FINITE', message, { details: { step, slot, loss } });
    }
    const { segment, offset } = memory.layout.scalars;
    const scalars = memory.view(slotRegion(slot), segment).subarray(offset, offset + memory.layout.numScalars);
    contribute(scalars, Float32Array.of(loss, ...metrics), part.contribution);
  }

  #gradient(outputs: SlotOutputs, { key, indices, batch, contribution }: Part): Measurements {
    try {
      return this.#options.step.gradient(batch, key, outputs, contribution);
    } catch (thrown) {
      throw locate(thrown, this.#options.data, indices, key.step);
    }
  }
}

function slotOutputs(memory: FlatMemory, region: string): SlotOutputs {
  const { parameters } = memory.layout;
  const views = (trainable: boolean): Float32Array[] =>
    parameters
      .filter((one) => one.trainable === trainable && one.frozen !== true)
      .map((one) => memory.parameterView(region, one));
  return { gradients: views(true), state: views(false) };
}
