/**
 * Weights as other tools save them: one safetensors file, or several with an index that says which tensor lies where
 * (https://huggingface.co/docs/transformers/big_models). Opening looks at all headers; tensors are read one by one.
 */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { LockstepError } from '../../src/errors.js';
import { listed } from '../../src/listed.js';
import { toFloat32 } from '../../src/state/float-types.js';
import { sizeOf } from '../../src/state/parameter.js';
import type { StoredTensor } from '../../src/state/safetensors.js';
import { TensorFile } from './tensor-file.js';

/** Places that a message names, of each kind. */
const maxListed = 5;

/** A tensor and the file that has it. */
export interface FiledTensor extends StoredTensor {
  readonly file: TensorFile;
}

const indexSchema = z.object({
  weight_map: z.record(
    z.string(),
    z
      .string()
      .refine((name) => name === basename(name) && name !== '..', 'expected the name of a file beside the index'),
  ),
});

type WeightMap = z.output<typeof indexSchema>['weight_map'];

export class WeightFiles implements AsyncDisposable {
  readonly path: string;
  readonly tensors: readonly FiledTensor[];
  readonly #files: readonly TensorFile[];

  private constructor(path: string, files: readonly TensorFile[]) {
    this.path = path;
    this.#files = files;
    this.tensors = files.flatMap((file) => file.header.tensors.map((tensor) => ({ ...tensor, file })));
  }

  /**
   * @param path of a safetensors file, or of an index, which ends in `.json`
   * @throws LockstepError ERR_CHECKPOINT_INVALID if one cannot be read, is not whole, or is not what the index says
   */
  static async open(path: string): Promise<WeightFiles> {
    if (!path.endsWith('.json')) return new WeightFiles(path, [await TensorFile.open(path)]);
    const weightMap = await readIndex(path);
    const files: TensorFile[] = [];
    try {
      for (const name of new Set(Object.values(weightMap)))
        files.push(await TensorFile.open(join(dirname(path), name)));
      checkIndex(path, weightMap, files);
      return new WeightFiles(path, files);
    } catch (error) {
      await closeAll(files);
      throw error;
    }
  }

  /** All files of it: the index, where there is one, and those with tensors. */
  get paths(): readonly string[] {
    return [...new Set([this.path, ...this.#files.map(({ path }) => path)])];
  }

  /** The tensor's values as float32; of F32, F16 or BF16. */
  async read({ file, ...tensor }: FiledTensor): Promise<Float32Array> {
    const values = new Float32Array(sizeOf(tensor.shape));
    const elementBytes = tensor.dtype === 'F32' ? 4 : 2;
    await file.readTensor(tensor, (at, piece) => {
      const start = at / elementBytes;
      toFloat32(tensor.dtype, piece, values.subarray(start, start + piece.length / elementBytes));
    });
    return values;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.#files);
  }
}

async function closeAll(files: readonly TensorFile[]): Promise<void> {
  for (const file of files) await file[Symbol.asyncDispose]();
}

async function readIndex(path: string): Promise<WeightMap> {
  let index: unknown;
  try {
    index = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw invalid(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
  const parsed = indexSchema.safeParse(index);
  if (parsed.success) return parsed.data.weight_map;
  throw invalid(path, z.prettifyError(parsed.error).replaceAll('\n', ' '));
}

/** A file of the index has just the tensors that the index names for it. */
function checkIndex(path: string, weightMap: WeightMap, files: readonly TensorFile[]): void {
  const places = files.flatMap((file) => file.header.tensors.map(({ name }) => `${name} in ${basename(file.path)}`));
  const [found, named] = [
    new Set(places),
    new Set(Object.entries(weightMap).map(([name, file]) => `${name} in ${file}`)),
  ];
  const missing = [...named].filter((place) => !found.has(place));
  const unnamed = [...found].filter((place) => !named.has(place));
  if (missing.length + unnamed.length === 0) return;
  const parts = [differing('does not find', missing), differing('does not name', unnamed)].filter(
    (part) => part !== '',
  );
  throw invalid(path, `it ${parts.join(', and ')}`);
}

function differing(what: string, places: readonly string[]): string {
  return places.length === 0 ? '' : `${what} ${listed(places, maxListed, ', ')}`;
}

function invalid(path: string, fault: string, cause?: unknown): LockstepError {
  const message = `${path} is not a usable index of safetensors files: ${fault}. Copy the model's folder again.`;
  return new LockstepError('ERR_CHECKPOINT_INVALID', message, { cause, details: { path, fault } });
}
