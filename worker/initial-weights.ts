/**
 * First weights from a file of the job's. They are compared with the model as a whole while a worker prepares itself, so that
 * whatever does not fit is told before anything starts, and read when the run begins.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { LockstepError } from '../src/errors.js';
import type { Job } from '../src/job/job.js';
import { validatedWeights } from '../src/state/checkpoint.js';
import { isAdapter } from '../src/state/lora.js';
import { matchTensors, namesByPattern, type NameMap } from '../src/state/name-map.js';
import { namePattern } from '../src/state/name-pattern.js';
import type { ParameterShape } from '../src/state/parameter.js';
import { WeightFiles, type FiledTensor } from './checkpoint/weight-files.js';

export class InitialWeights {
  readonly #path: string;
  readonly #toParameter: NameMap;
  readonly #isOwn: (parameter: string) => boolean;

  /** @param baseDir where relative paths start */
  constructor(given: NonNullable<Job['initialWeights']>, baseDir: string) {
    const { file, names, own } = typeof given === 'string' ? { file: given, names: {}, own: [] } : given;
    this.#path = resolve(baseDir, file);
    const patterns = own.map(namePattern);
    this.#isOwn = (parameter) => patterns.some((matches) => matches(parameter) !== null);
    this.#toParameter = namesByPattern(names);
  }

  /**
   * Compares the file's tensors with these parameters; none is read.
   *
   * @returns the SHA-256 of its content
   * @throws LockstepError ERR_DATA_NOT_FOUND, ERR_CHECKPOINT_INVALID; ERR_MODEL_INVALID with all that does not fit
   */
  async check(parameters: readonly ParameterShape[]): Promise<string> {
    await access(this.#path).catch((cause: unknown): never => {
      throw new LockstepError('ERR_DATA_NOT_FOUND', `initialWeights: cannot read ${this.#path}.`, { cause });
    });
    await using files = await WeightFiles.open(this.#path);
    this.#match(files, parameters);
    const hash = createHash('sha256');
    for (const path of files.paths) {
      for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer); // a stream without an encoding
    }
    return hash.digest('hex');
  }

  /**
   * Each parameter that the file has, with its values.
   *
   * @param parameters all of the model's
   * @throws as `check`
   */
  async *read<P extends ParameterShape>(parameters: readonly P[]): AsyncGenerator<readonly [P, Float32Array]> {
    await using files = await WeightFiles.open(this.#path);
    for (const [parameter, tensor] of this.#match(files, parameters)) yield [parameter, await files.read(tensor)];
  }

  #match<P extends ParameterShape>(files: WeightFiles, parameters: readonly P[]): (readonly [P, FiledTensor])[] {
    const nameOf = this.#namesIn(files);
    // Adapters that are not there are new.
    const stored = new Set(files.tensors.map(({ name }) => nameOf(name)));
    const wanted = parameters.filter(({ name }) => !this.#isOwn(name) && (stored.has(name) || !isAdapter(name)));
    const tensors = matchTensors(files.tensors, wanted, { nameOf, source: files.path });
    return wanted.flatMap((parameter, index) => {
      const tensor = tensors[index];
      return tensor ? [[parameter, tensor] as const] : [];
    });
  }

  #namesIn(files: WeightFiles): NameMap {
    const weightOf = validatedWeights(files.tensors.map(({ name }) => name));
    return (tensor) => {
      const weight = weightOf(tensor);
      const name = weight === null ? null : this.#toParameter(weight);
      return name === null || this.#isOwn(name) ? null : name;
    };
  }
}
