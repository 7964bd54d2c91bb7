/**
 * Reads checkpoints into shared memory. Before a tensor is read, all names, types and shapes are compared with the model's;
 * while they are read, their checksums are.
 */
import { LockstepError } from '../../src/errors.js';
import { ChecksumStream } from '../../src/kernels/checksum-stream.js';
import { listed } from '../../src/listed.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions } from '../../src/optimizer/optimizer.js';
import { type Checkpoint, parseCheckpoint } from '../../src/state/checkpoint.js';
import type { FlatMemory } from '../../src/state/memory.js';
import type { StoredTensor } from '../../src/state/safetensors.js';
import type { CheckpointFiles } from './checkpoint-files.js';
import { sealOf } from './header-seal.js';
import { momentTensors, parameterTensors, type Sharding, type StateTensor } from './tensors.js';
import { TensorFile } from './tensor-file.js';

/** Differences that a message names. */
const MAX_LISTED = 5;

/**
 * What a checkpoint says about itself. Its tensors are not read: the header is whole, and the file has the size that it
 * describes.
 *
 * @throws LockstepError ERR_CHECKPOINT_INVALID
 */
export async function readCheckpointHeader(path: string, files?: CheckpointFiles): Promise<Checkpoint> {
  await using file = await TensorFile.open(path, files);
  return checkpointOf(file);
}

/**
 * Reads the whole file, once, and compares its checksums with what it says.
 *
 * @throws LockstepError ERR_CHECKPOINT_INVALID
 */
export async function verifyCheckpoint(path: string): Promise<Checkpoint> {
  await using file = await TensorFile.open(path);
  const checkpoint = checkpointOf(file);
  await readChecked(file, checkpoint, () => () => undefined);
  return checkpoint;
}

export interface ReadCheckpointOptions {
  readonly path: string;
  /** Its parameters and moments are filled. If this throws, they may hold anything. */
  readonly memory: FlatMemory;
  /** The optimizer that is to continue; it must keep the same moments. */
  readonly optimizer: OptimizerConfig;
  /** Where moments are shared out: this worker's are filled. @default it holds them all */
  readonly sharding?: Sharding | null;
  /** @default a folder that this worker sees */
  readonly files?: CheckpointFiles;
}

/** @throws LockstepError ERR_CHECKPOINT_INVALID; ERR_RESUME_MISMATCH if it belongs to another model or optimizer */
export async function readCheckpoint(options: ReadCheckpointOptions): Promise<Checkpoint> {
  const { path, memory, optimizer, sharding = null, files } = options;
  await using file = await TensorFile.open(path, files);
  const checkpoint = checkpointOf(file);
  checkOptimizer(checkpoint.optimizer, optimizer, path);
  const targets = new Map(
    [...parameterTensors(memory), ...momentTensors(memory, optimizer, sharding)].map((tensor) => [tensor.name, tensor]),
  );
  const stored = file.header.tensors;
  const unknown = stored.filter(({ name }) => !targets.has(name)).map(({ name }) => `the model has no "${name}"`);
  const differences = [...differencesOf(stored, [...targets.values()]), ...unknown];
  refuse(differences, `Checkpoint ${path} does not fit this job's model`);
  await readChecked(file, checkpoint, ({ name }) => targets.get(name)?.fill ?? (() => undefined));
  return checkpoint;
}

/** The header, whole, with a checksum for each tensor. */
function checkpointOf({ header, headerBytes, path }: TensorFile): Checkpoint {
  const checkpoint = parseCheckpoint(header.metadata, path);
  const { headerSha256, tensorChecksums } = checkpoint;
  checkDigest(sealOf(headerBytes, headerSha256), headerSha256, 'SHA-256 of its header', path);
  if (tensorChecksums.length === header.tensors.length) return checkpoint;
  const message = `${path} is not a valid checkpoint: it has ${header.tensors.length} tensors and ${tensorChecksums.length} checksums.`;
  throw new LockstepError('ERR_CHECKPOINT_INVALID', message, { details: { path } });
}

/** Reads all tensors in the order of the file, and compares the checksums that come of it. */
async function readChecked(
  file: TensorFile,
  { tensorChecksums }: Checkpoint,
  takerOf: (tensor: StoredTensor) => StateTensor['fill'],
): Promise<void> {
  const checksum = new ChecksumStream();
  for (const [index, tensor] of file.header.tensors.entries()) {
    const take = takerOf(tensor);
    await file.readTensor(tensor, (at, piece) => {
      checksum.update(piece);
      take(at, piece);
    });
    checkDigest(checksum.take(), tensorChecksums[index] ?? '', `checksum of its tensor "${tensor.name}"`, file.path);
  }
}

function checkDigest(found: string, expected: string, what: string, path: string): void {
  if (found === expected) return;
  const message = `${path} is damaged: the ${what} is ${found}, expected ${expected}. Use an older checkpoint.`;
  throw new LockstepError('ERR_CHECKPOINT_INVALID', message, { details: { path, what, found, expected } });
}

/** Hyperparameters may differ: to change the learning rate is a reason to resume. */
function checkOptimizer(stored: OptimizerConfig, wanted: OptimizerConfig, path: string): void {
  const [found, expected] = [stored, wanted].map((config) => momentRegions(config).join(', ') || 'no moments');
  if (found === expected) return;
  const message = `Checkpoint ${path} is of the optimizer ${stored.name} with ${found}; this job's is ${wanted.name} with ${expected}. Resume with the checkpoint's optimizer, or start a new run with the checkpoint as initialWeights.`;
  throw new LockstepError('ERR_RESUME_MISMATCH', message, { details: { path, found: stored, expected: wanted } });
}

/** What keeps the file's tensors from filling `wanted`, in words. */
function differencesOf(stored: readonly StoredTensor[], wanted: readonly StateTensor[]): string[] {
  const byName = new Map(stored.map((tensor) => [tensor.name, tensor]));
  return wanted.flatMap(({ name, shape }) => {
    const tensor = byName.get(name);
    if (!tensor) return [`the file has no "${name}"`];
    const found = `${tensor.dtype} [${tensor.shape.join(', ')}]`;
    const expected = `F32 [${shape.join(', ')}]`;
    return found === expected ? [] : [`"${name}" is ${found} in the file and ${expected} in the model`];
  });
}

function refuse(differences: readonly string[], what: string): void {
  if (differences.length === 0) return;
  const message = `${what}: ${listed(differences, MAX_LISTED)}.`;
  throw new LockstepError('ERR_RESUME_MISMATCH', message, { details: { differences } });
}
