/**
 * The rows of this worker's slots at a step: read ahead of it, changed where the job says so (`data.augment`), or made by the
 * model with the weights that the step begins with (`rollouts`).
 */
import type { Batch, Dataset } from '../src/job/dataset.js';
import type { Sampler } from '../src/job/sampler.js';
import type { Augmentation } from './augmentation.js';
import { collectRows } from './collect.js';
import type { SlotStep } from './compute/step.js';
import { readRows } from './locate.js';

export interface SlotReaderOptions {
  readonly step: Pick<SlotStep, 'predicting'>;
  readonly sampler: Sampler;
  readonly data: Dataset;
  /** What becomes of the rows, each time. @default they stay */
  readonly augmentation?: Augmentation;
  readonly seed: number;
  /** Whose rows are wanted at a step. */
  readonly slotsAt: (step: number) => readonly number[];
}

/** A slot's rows at one step; without a batch where it has none. */
export interface SlotRows {
  readonly slot: number;
  readonly indices: Uint32Array;
  readonly batch: Batch | null;
}

/** Rows that are being read. */
interface Ahead {
  readonly step: number;
  readonly batches: Promise<readonly SlotRows[]>;
  /** They, once they have come. */
  inHand: readonly SlotRows[] | null;
}

export class SlotReader {
  readonly #options: SlotReaderOptions;
  /** By slot, rows whose gradient is computed: the memory of the next ones. */
  readonly #spare = new Map<number, Batch>();
  #ahead: Ahead | null = null;

  constructor(options: SlotReaderOptions) {
    this.#options = options;
  }

  /** Other slots from now on: what was read ahead is of others. */
  forget(): void {
    this.#ahead = null;
    this.#spare.clear();
  }

  /** Begins to read the rows of `step`, unless they are made with the weights that it begins with. */
  prefetch(step: number): void {
    if (!this.#options.data.collect) this.#begin(step);
  }

  /** The rows of `step`, where they were prefetched and have come. */
  inHand(step: number): readonly SlotRows[] | null {
    return this.#ahead?.step === step ? this.#ahead.inHand : null;
  }

  async read(step: number): Promise<readonly SlotRows[]> {
    const ahead = this.#ahead?.step === step ? this.#ahead : this.#begin(step);
    return ahead.batches;
  }

  /** Nobody needs these rows any more. */
  reuse({ slot, batch }: SlotRows): void {
    if (batch) this.#spare.set(slot, batch);
  }

  #begin(step: number): Ahead {
    const batches = Promise.all(this.#options.slotsAt(step).map(async (slot) => this.#readSlot(step, slot)));
    const ahead: Ahead = { step, batches, inHand: null };
    batches.then(
      (read) => (ahead.inHand = read),
      () => undefined, // seen by read(), which hands it on
    );
    this.#ahead = ahead;
    return ahead;
  }

  async #readSlot(step: number, slot: number): Promise<SlotRows> {
    const { sampler, data, augmentation } = this.#options;
    const indices = sampler.indices(step, slot);
    const spare = this.#spare.get(slot);
    this.#spare.delete(slot);
    if (indices.length === 0) return { slot, indices, batch: null };
    const read = data.collect ? this.#collect(step, slot, indices.length) : await readRows(data, indices, step, spare);
    return { slot, indices, batch: augmentation?.apply(read, indices, sampler.position(step).epoch) ?? read };
  }

  #collect(step: number, slot: number, numRows: number): Batch {
    const { step: model, data, seed } = this.#options;
    const key = { purpose: 'rollout', seed, step, slot } as const;
    return collectRows({ model, data, key, context: { step, slot, numRows } });
  }
}
