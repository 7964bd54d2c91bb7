/**
 * The weights of a checkpoint for whoever uses them outside of its run: those that the run validates. Where the model is to be one
 * without adapters, they are added to their matrices, one matrix at a time.
 */
import { assert, LockstepError } from '../../src/errors.js';
import { validatedWeights, type Checkpoint } from '../../src/state/checkpoint.js';
import {
  adaptedMatrix,
  adapterNames,
  loraSchema,
  mergeLora,
  type LoraConfig,
  type LoraScaling,
} from '../../src/state/lora.js';
import { matchTensors } from '../../src/state/name-map.js';
import type { ParameterShape } from '../../src/state/parameter.js';
import type { StoredTensor } from '../../src/state/safetensors.js';
import { WeightFiles } from './weight-files.js';

export interface CheckpointSource {
  readonly path: string;
  /** Of the adapters that are merged into their matrices; null: they stay as they are, if there are any. */
  readonly merging: LoraScaling | null;
}

/** A checkpoint as that of the model without the adapters that its run trained. */
export function withoutAdapters({
  path,
  checkpoint,
}: {
  readonly path: string;
  readonly checkpoint: Pick<Checkpoint, 'job'>;
}): CheckpointSource {
  return { path, merging: adaptersOf(checkpoint) ?? null };
}

/** Those that the checkpoint's run trained, if it trained any. */
export function adaptersOf({ job }: Pick<Checkpoint, 'job'>): LoraConfig | undefined {
  return loraSchema.nullish().parse(job['lora']) ?? undefined;
}

/** A weight under the name that the model has for it. */
export interface CheckpointWeight extends Pick<StoredTensor, 'name' | 'dtype' | 'shape'> {
  readonly read: () => Promise<Float32Array>;
}

/** @throws LockstepError ERR_CHECKPOINT_INVALID, when one is read whose adapters do not fit it */
export function weightsIn(files: WeightFiles, merging: CheckpointSource['merging']): CheckpointWeight[] {
  const nameOf = validatedWeights(files.tensors.map(({ name }) => name));
  const weights = files.tensors.flatMap((tensor) => {
    const name = nameOf(tensor.name);
    return name === null ? [] : [{ ...tensor, name, read: () => files.read(tensor) }];
  });
  return merging ? merged(weights, merging) : weights;
}

function merged(weights: readonly CheckpointWeight[], merging: LoraScaling): CheckpointWeight[] {
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  return [...new Set(weights.map(({ name }) => adaptedMatrix(name)))].map((name) => {
    const { a, b } = adapterNames(name);
    const parts = [name, a, b].flatMap((part) => byName.get(part) ?? []);
    const matrix = byName.get(name);
    if (matrix && parts.length === 1) return matrix;
    return { name, dtype: 'F32', shape: matrix?.shape ?? [], read: () => readMerged(name, parts, merging) };
  });
}

async function readMerged(
  name: string,
  parts: readonly CheckpointWeight[],
  merging: LoraScaling,
): Promise<Float32Array> {
  const tensors = new Map<string, { readonly shape: readonly number[]; readonly values: Float32Array }>();
  for (const part of parts) tensors.set(part.name, { shape: part.shape, values: await part.read() });
  const matrix = mergeLora(tensors, merging).get(name);
  assert(matrix, `adapters of ${name} were merged into nothing`);
  return matrix.values;
}

/** Gives the parameters of a job's model their values. */
export class CheckpointWeights {
  readonly #source: CheckpointSource;

  constructor(source: CheckpointSource) {
    this.#source = source;
  }

  /**
   * Each parameter with its values, in the order given.
   *
   * @param parameters all of the model's
   * @throws LockstepError ERR_RESUME_MISMATCH with all that differs
   */
  async *read<P extends ParameterShape>(parameters: readonly P[]): AsyncGenerator<readonly [P, Float32Array]> {
    const { path, merging } = this.#source;
    await using files = await WeightFiles.open(path);
    const matched = matchOwn(weightsIn(files, merging), parameters, path);
    for (const [index, parameter] of parameters.entries()) {
      const weight = matched[index];
      if (weight) yield [parameter, await weight.read()];
    }
  }
}

function matchOwn(
  weights: readonly CheckpointWeight[],
  parameters: readonly ParameterShape[],
  source: string,
): CheckpointWeight[] {
  try {
    return matchTensors(weights, parameters, { nameOf: (name) => name, source });
  } catch (thrown) {
    if (!(thrown instanceof LockstepError)) throw thrown;
    const message = `The checkpoint is of another model than the job's. ${thrown.message}`;
    throw new LockstepError('ERR_RESUME_MISMATCH', message, { cause: thrown, details: thrown.details });
  }
}
