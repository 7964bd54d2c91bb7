/** The gradients of this worker's slots at one step: reads the rows, computes, and leaves weighted partials in memory. */
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { Batch, Dataset } from '../src/job/dataset.js';
import type { Sampler } from '../src/job/sampler.js';
import type { FlatMemory } from '../src/state/memory.js';
import type { SlotRange } from '../src/collective/assignment.js';
import { slotRegion } from './comm/regions.js';
import type { SlotOutputs, SlotStep } from './compute/step.js';

export interface GradientsOptions {
  readonly step: SlotStep;
  readonly memory: FlatMemory;
  readonly sampler: Sampler;
  readonly data: Dataset;
  readonly seed: number;
  readonly slots: SlotRange;
}

/** The batches of one step, by slot; null for a slot without rows. */
export type SlotBatches = readonly {
  readonly slot: number;
  readonly indices: Uint32Array;
  readonly batch: Batch | null;
}[];

/** Rows that are being read. */
interface Ahead {
  readonly step: number;
  readonly batches: Promise<SlotBatches>;
  /** They, once they have come. */
  inHand: SlotBatches | null;
}

export class Gradients {
  readonly #options: GradientsOptions;
  readonly #outputs: ReadonlyMap<number, SlotOutputs>;
  #ahead: Ahead | null = null;

  constructor(options: GradientsOptions) {
    this.#options = options;
    const slots = slotsOf(options.slots);
    this.#outputs = new Map(slots.map((slot) => [slot, slotOutputs(options.memory, slotRegion(slot))]));
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
  inHand(step: number): SlotBatches | null {
    return this.#ahead?.step === step ? this.#ahead.inHand : null;
  }

  async read(step: number): Promise<SlotBatches> {
    if (this.#ahead?.step !== step) this.prefetch(step);
    return this.#ahead?.batches ?? [];
  }

  /** @throws LockstepError ERR_NOT_FINITE, ERR_LABEL_OUT_OF_RANGE, and what the model throws */
  compute(step: number, batches: SlotBatches): void {
    for (const { slot, indices, batch } of batches) this.#computeSlot(step, slot, indices, batch);
  }

  async #read(step: number): Promise<SlotBatches> {
    const { sampler, data, slots } = this.#options;
    return Promise.all(
      slotsOf(slots).map(async (slot) => {
        const indices = sampler.indices(step, slot);
        return { slot, indices, batch: indices.length > 0 ? await readRows(data, indices, step) : null };
      }),
    );
  }

  #computeSlot(step: number, slot: number, indices: Uint32Array, batch: Batch | null): void {
    const { memory, sampler, seed } = this.#options;
    const outputs = this.#outputs.get(slot);
    if (!batch || !outputs) {
      for (const [segment] of memory.layout.segments.entries()) memory.view(slotRegion(slot), segment).fill(0);
      return;
    }
    const { loss, metrics } = this.#gradient(batch, { seed, step, slot }, outputs, indices);
    if (!Number.isFinite(loss)) {
      const message = `The loss of slot ${slot} at step ${step} is ${loss}; it has to be finite. Lower the learning rate, or check the data and the loss.`;
      throw new LockstepError('ERR_NOT_FINITE', message, { details: { step, slot, loss } });
    }
    const { segment, offset } = memory.layout.scalars;
    memory.view(slotRegion(slot), segment).set([loss, ...metrics], offset);
    this.#weigh(slot, indices.length / sampler.batchRows(step));
  }

  #gradient(
    batch: Batch,
    key: { seed: number; step: number; slot: number },
    outputs: SlotOutputs,
    indices: Uint32Array,
  ): { loss: number; metrics: readonly number[] } {
    try {
      return this.#options.step.gradient(batch, key, outputs);
    } catch (thrown) {
      throw locate(thrown, this.#options.data, indices, key.step);
    }
  }

  /** The slot's share of the batch, so that the sum over the slots is the mean over the rows. */
  #weigh(slot: number, weight: number): void {
    if (weight === 1) return;
    const { memory } = this.#options;
    for (const [segment, { reducedElements }] of memory.layout.segments.entries()) {
      const address = memory.address(slotRegion(slot), segment);
      memory.kernels(segment).scale(address, address, weight, reducedElements);
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
export async function readRows(data: Dataset, indices: ArrayLike<number>, step: number): Promise<Batch> {
  try {
    return await data.read(indices);
  } catch (thrown) {
    throw locate(toLockstepError(thrown, 'ERR_DATA_INVALID'), data, indices, step);
  }
}

export function slotsOf({ firstSlot, endSlot }: SlotRange): number[] {
  return Array.from({ length: endSlot - firstSlot }, (_, i) => firstSlot + i);
}

function slotOutputs(memory: FlatMemory, region: string): SlotOutputs {
  const { parameters } = memory.layout;
  const views = (trainable: boolean): Float32Array[] =>
    parameters
      .filter((one) => one.trainable === trainable && one.frozen !== true)
      .map((one) => memory.parameterView(region, one));
  return { gradients: views(true), state: views(false) };
}
