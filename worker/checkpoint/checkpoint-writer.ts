/**
 * Writes the flat state to a checkpoint, straight from shared memory. The file appears under its name whole or not at
 * all: it is written aside, flushed to the disk and renamed. Whatever fails, older checkpoints stay as they are.
 */
import { createHash } from 'node:crypto';
import { assert, LockstepError } from '../../src/errors.js';
import { ChecksumStream } from '../../src/kernels/checksum-stream.js';
import type { Log } from '../../src/log.js';
import { CHECKPOINT_FORMAT, type CheckpointFacts, encodeCheckpoint } from '../../src/state/checkpoint.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { encodeHeader } from '../../src/state/safetensors.js';
import type { CheckpointFiles, TargetFile } from './checkpoint-files.js';
import { isOvertaken } from './checkpoint-folder.js';
import { sealHeader, UNSEALED } from './header-seal.js';
import { localFiles } from './local-files.js';
import { momentTensors, parameterTensors, type Sharding, type StateTensor } from './tensors.js';

/** What is hashed and written at once, so that the thread's other work waits a few milliseconds at most. */
const PIECE_BYTES = 4 * 2 ** 20;

export interface WriteCheckpointOptions {
  /** Where the checkpoint appears; its folder is made if it is not there. */
  readonly path: string;
  /** Holds parameters and moments, which must not change until this is done. */
  readonly memory: FlatMemory;
  readonly facts: CheckpointFacts;
  /** Where moments are shared out: they are gathered here. @default this worker holds them all */
  readonly sharding?: Sharding | null;
  /** @default a folder that this worker sees */
  readonly files?: CheckpointFiles;
  readonly log: Log;
}

export interface WrittenCheckpoint {
  readonly weightsSha256: string;
  readonly numBytes: number;
}

/**
 * Resolves with null where another writer was faster with the same step or a later one, which stands for this.
 *
 * @throws LockstepError ERR_DISK_FULL, ERR_CHECKPOINT_WRITE
 */
export async function writeCheckpoint(options: WriteCheckpointOptions): Promise<WrittenCheckpoint | null> {
  const { path, files = localFiles, log } = options;
  let target: TargetFile | null = null;
  try {
    target = await files.create(path, log);
    const written = await writeState(target, options);
    if (!(await target.keep())) return overtaken(options);
    log.info(`checkpoint of step ${options.facts.step} written`, { path, step: options.facts.step, ...written });
    return written;
  } catch (thrown) {
    await target?.discard().catch((error: unknown) => {
      log.warn('cannot remove what was written of a checkpoint', { path, error });
    });
    if (files.isHere && isGone(thrown) && (await isOvertaken(path))) return overtaken(options);
    throw writeError(thrown, path, options.facts.step);
  }
}

function overtaken({ facts, log }: WriteCheckpointOptions): null {
  log.info(
    `the checkpoint of step ${facts.step} is not kept: another worker has written that or a later one meanwhile`,
  );
  return null;
}

/** Removed: NFS tells who still writes. */
function isGone(thrown: unknown): boolean {
  const errno = errnoOf(thrown);
  return errno === 'ENOENT' || errno === 'ESTALE';
}

/** The header holds digests of what follows it, so it is written last, over a gap of its length. */
async function writeState(
  target: TargetFile,
  { memory, facts, sharding = null }: Pick<WriteCheckpointOptions, 'memory' | 'facts' | 'sharding'>,
): Promise<WrittenCheckpoint> {
  const parameters = parameterTensors(memory);
  const moments = momentTensors(memory, facts.optimizer, sharding);
  const tensors = [...parameters, ...moments];
  const header = (weightsSha256: string, tensorChecksums: string[]) => {
    const digests = { weightsSha256, tensorChecksums, headerSha256: UNSEALED };
    const metadata = encodeCheckpoint({ format: CHECKPOINT_FORMAT, ...facts, ...digests });
    return sealHeader(encodeHeader(tensors, metadata));
  };
  const unknown = '0'.repeat(8);
  const gap = header(
    UNSEALED,
    tensors.map(() => unknown),
  ).length;
  const sha256 = createHash('sha256');
  const weights = await writeTensors(target, parameters, gap, (piece) => sha256.update(piece));
  const rest = await writeTensors(target, moments, weights.end);
  const weightsSha256 = sha256.digest('hex');
  const finalHeader = header(weightsSha256, [...weights.checksums, ...rest.checksums]);
  assert(finalHeader.length === gap, `the header has ${finalHeader.length} bytes, and ${gap} are left for it`);
  await target.write(finalHeader, 0);
  return { weightsSha256, numBytes: rest.end };
}

async function writeTensors(
  target: TargetFile,
  tensors: readonly StateTensor[],
  start: number,
  watch: (piece: Uint8Array) => void = () => undefined,
): Promise<{ end: number; checksums: string[] }> {
  const checksum = new ChecksumStream();
  const checksums: string[] = [];
  let position = start;
  for (const { pieces } of tensors) {
    for await (const bytes of pieces()) {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        checksum.update(piece);
        watch(piece);
        await target.write(piece, position + at);
      }
      position += bytes.length;
    }
    checksums.push(checksum.take());
  }
  return { end: position, checksums };
}

function writeError(thrown: unknown, path: string, step: number): LockstepError {
  if (thrown instanceof LockstepError) return thrown;
  const options = { cause: thrown, details: { path, step } };
  const untouched = 'Nothing of it is left, and older checkpoints are as they were.';
  const errno = errnoOf(thrown);
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    const message = `The disk is full (${errno}): no room for checkpoint ${path} of step ${step}. ${untouched} Free some space, or use another run directory.`;
    return new LockstepError('ERR_DISK_FULL', message, options);
  }
  const fault = thrown instanceof Error ? thrown.message : String(thrown);
  const message = `Checkpoint ${path} of step ${step} cannot be written: ${fault}. ${untouched} Check the folder and its permissions.`;
  return new LockstepError('ERR_CHECKPOINT_WRITE', message, options);
}

function errnoOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}
