/** The state that a generation begins with where no worker has it: the checkpoint's, the job's file, or the model's own. */
import { defaultBucketBytes } from '../src/collective/buckets.js';
import { ownedRanges } from '../src/collective/shard.js';
import { assert } from '../src/errors.js';
import { AVERAGE, momentRegions } from '../src/optimizer/optimizer.js';
import type { Generation } from '../src/protocol/messages.js';
import { type FlatMemory, PARAMETERS } from '../src/state/memory.js';
import { readCheckpoint } from './checkpoint/checkpoint-reader.js';
import type { Sharding } from './checkpoint/tensors.js';
import { planGeneration } from './comm/generation-plan.js';
import type { Prepared } from './preparation.js';
import { numExtraScalars, restoreValidations, writeValidations } from './validations.js';

export class InitialState {
  readonly #prepared: Prepared;
  readonly #memory: FlatMemory;
  /** The memory holds the model's first weights, and moments of zeros. */
  #isNew = true;

  private constructor(prepared: Prepared, memory: FlatMemory) {
    this.#prepared = prepared;
    this.#memory = memory;
  }

  /** Puts the model's first weights into memory that is all zeros; from now on the model has its weights there. */
  static place(prepared: Prepared, memory: FlatMemory): InitialState {
    const initial = new InitialState(prepared, memory);
    const { step } = prepared;
    initial.#setWeights(step.initialValues());
    step.bindWeights(weightViews(prepared, memory));
    return initial;
  }

  /** @param checkpoint null: the first weights */
  async read(
    checkpoint: string | null,
    place: { readonly generation: Generation; readonly rank: number },
  ): Promise<void> {
    const { loaded, firstWeights, initialWeights, files } = this.#prepared;
    const { optimizer } = loaded.job;
    const memory = this.#memory;
    const isNew = this.#isNew;
    this.#isNew = false;
    if (checkpoint !== null) {
      const sharding = this.#sharding(place);
      restoreValidations(
        loaded.job,
        memory,
        await readCheckpoint({ path: checkpoint, memory, optimizer, sharding, files }),
      );
      return;
    }
    if (!isNew) {
      this.#clearMoments();
      this.#setWeights(await firstWeights());
    }
    for await (const [parameter, values] of initialWeights?.read(memory.layout.parameters) ?? []) {
      memory.parameterView(PARAMETERS, parameter).set(values);
    }
    if (optimizer.averageDecay !== undefined) this.#beginAverage();
    if (numExtraScalars(loaded.job) > 0) writeValidations(memory, null);
  }

  #setWeights(values: readonly Float32Array[]): void {
    for (const [index, view] of weightViews(this.#prepared, this.#memory).entries()) view.set(values[index] ?? []);
  }

  #clearMoments(): void {
    for (const region of momentRegions(this.#prepared.loaded.job.optimizer)) {
      for (const [segment] of this.#memory.layout.segments.entries()) this.#memory.view(region, segment).fill(0);
    }
  }

  #beginAverage(): void {
    for (const parameter of this.#memory.layout.parameters) {
      if (!parameter.trainable) continue;
      this.#memory.parameterView(AVERAGE, parameter).set(this.#memory.parameterView(PARAMETERS, parameter));
    }
  }

  #sharding(place: { readonly generation: Generation; readonly rank: number }): Sharding | null {
    const { plan, loaded, layout } = this.#prepared;
    const setup = { ...loaded.job, slots: plan.slots, layout, bucketBytes: defaultBucketBytes };
    const allReduce = planGeneration({ ...setup, ...place });
    if (!allReduce.isSharded) return null;
    return { ranges: ownedRanges(allReduce), buckets: allReduce.buckets, gather: () => Promise.resolve() };
  }
}

/** The moving averages of the weights, in the order in which the model has them, and what has none as it is; null: there are none. */
export function averageViews(prepared: Pick<Prepared, 'step' | 'layout'>, memory: FlatMemory): Float32Array[] | null {
  return memory.has(AVERAGE) ? weightViews(prepared, memory, AVERAGE) : null;
}

/** The shared parameters, in the order in which the model has them. */
function weightViews(
  { step, layout }: Pick<Prepared, 'step' | 'layout'>,
  memory: FlatMemory,
  trainable = PARAMETERS,
): Float32Array[] {
  const placed = new Map(layout.parameters.map((parameter) => [parameter.name, parameter]));
  return step.parameters.map(({ name }) => {
    const parameter = placed.get(name);
    assert(parameter, `parameter ${name} has no place in the layout`);
    return memory.parameterView(parameter.trainable ? trainable : PARAMETERS, parameter);
  });
}
