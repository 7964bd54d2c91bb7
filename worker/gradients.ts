/**
 * The gradients of this worker's slots at one step: reads the rows, computes, and leaves weighted partials in memory. A
 * slot's partial is the sum of its micro-batches' gradients, each times its share of the batch's rows, added in their order.
 * Partials that lie there from the generation before are not computed again.
 */
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { Batch, Dataset } from '../src/job/dataset.js';
import { cutRows, sliceBatch } from '../src/job/micro-batches.js';
import type { Sampler } from '../src/job/sampler.js';
import type { FlatMemory } from '../src/state/memory.js';
import type { SlotRange } from '../src/collective/assignment.js';
import { noPartials, slotsToCompute, withPartial } from '../src/collective/kept-partials.js';
import { slotRegion } from './comm/regions.js';
import { contribute, type BucketSignals, type Contribution } from './compute/contribution.js';
import type { Measurements, SlotOutputs, SlotStep, StepKey } from './compute/step.js';
import type { Readiness } from './readiness.js';

export interface GradientsOptions {
  readonly step: SlotStep;
  readonly memory: FlatMemory;
  readonly sampler: Sampler;
  readonly data: Dataset;
  readonly seed: number;
  /** Parts in which a slot's gradient is computed. */
  readonly microBatches: number;
  /** What becomes of a loss that is not: `skip` leaves it to the sum of all slots. */
  readonly onNotFinite: 'stop' | 'skip';
  /** A slot's gradient is in its partial, and nobody waits for the last bucket yet. @default nobody is told */
  readonly onSlot?: (step: number, slot: number) => void;
}

/** A slot's rows at one step; without a batch where it has none. */
export interface SlotRows {
  readonly slot: number;
  readonly indices: Uint32Array;
  readonly batch: Batch | null;
}

/** One micro-batch of a slot. */
interface Part {
  readonly key: StepKey;
  readonly indices: Uint32Array;
  readonly batch: Batch;
  readonly contribution: Contribution;
}

/** Rows that are being read. */
interface Ahead {
  readonly step: number;
  readonly batches: Promise<readonly SlotRows[]>;
  /** They, once they have come. */
  inHand: readonly SlotRows[] | null;
}

export class Gradients {
  readonly #options: GradientsOptions;
  readonly #outputs = new Map<number, SlotOutputs>();
  #slots: SlotRange = { firstSlot: 0, endSlot: 0 };
  /** By slot, rows whose gradient is computed: the memory of the next ones. */
  readonly #spare = new Map<number, Batch>();
  #kept = noPartials;
  #ahead: Ahead | null = null;

  constructor(options: GradientsOptions) {
    this.#options = options;
  }

  /** The slots of a generation. What was read ahead is of others. */
  enter(slots: SlotRange): void {
    this.#slots = slots;
    this.#ahead = null;
    this.#spare.clear();
  }

  /** Begins to read the rows of `step`. */
  prefetch(step: number): void {
    const ahead: Ahead = { step, batches: this.#read(step), inHand: null };
    ahead.batches.then(
      (batches) => (ahead.inHand = batches),
      () => undefined, // seen by read(), which hands it on
    );
    this.#ahead = ahead;
  }

  /** The rows of `step`, where they were prefetched and have come. */
  inHand(step: number): readonly SlotRows[] | null {
    return this.#ahead?.step === step ? this.#ahead.inHand : null;
  }

  async read(step: number): Promise<readonly SlotRows[]> {
    if (this.#ahead?.step !== step) this.prefetch(step);
    return this.#ahead?.batches ?? [];
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
      this.#options.onSlot?.(step, rows.slot);
      this.#kept = withPartial(this.#kept, step, rows.slot);
      if (rows.batch) this.#spare.set(rows.slot, rows.batch);
    }
    readiness.finish(step);
  }

  async #read(step: number): Promise<readonly SlotRows[]> {
    const { sampler, data } = this.#options;
    return Promise.all(
      slotsToCompute(this.#kept, step, this.#slots).map(async (slot) => {
        const indices = sampler.indices(step, slot);
        const spare = this.#spare.get(slot);
        this.#spare.delete(slot);
        return { slot, indices, batch: indices.length > 0 ? await readRows(data, indices, step, spare) : null };
      }),
    );
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
    const scalars = memory.view(slotRegion(slot), segment).subarray(offset, offset + 1 + metrics.length);
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

/** Names the row that an error is about, where it says which of the batch it is. */
export function locate(thrown: unknown, data: Dataset, indices: ArrayLike<number>, step: number): LockstepError {
  const error = toLockstepError(thrown, 'ERR_STEP_FAILED');
  const { rowInBatch } = error.details;
  const row = typeof rowInBatch === 'number' ? indices[rowInBatch] : undefined;
  const where = row === undefined ? `at step ${step}` : `at ${data.describe?.(row) ?? `row ${row}`}`;
  return new LockstepError(error.code, `${error.message} (${where})`, {
    cause: error,
    details: { ...error.details, step, ...(row !== undefined && { row }) },
  });
}

/** The rows, or an error that says where the data failed: what a dataset throws knows nothing of steps. */
export async function readRows(data: Dataset, indices: ArrayLike<number>, step: number, spare?: Batch): Promise<Batch> {
  try {
    return await data.read(indices, spare);
  } catch (thrown) {
    throw locate(toLockstepError(thrown, 'ERR_DATA_INVALID'), data, indices, step);
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
