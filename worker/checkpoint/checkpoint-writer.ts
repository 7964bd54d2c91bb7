/**
 * Writes the flat state to a checkpoint, straight from shared memory. The file appears under its name whole or not at
 * all: it is written aside, flushed to the disk and renamed. Whatever fails, older checkpoints stay as they are.
 */
import { createHash, type Hash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assert, LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { CHECKPOINT_FORMAT, type CheckpointFacts, encodeCheckpoint } from '../../src/state/checkpoint.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { encodeHeader } from '../../src/state/safetensors.js';
import { momentTensors, parameterTensors, type Sharding, type StateTensor } from './tensors.js';

/** What is hashed and written at once, so that the thread's other work waits a few milliseconds at most. */
const PIECE_BYTES = 4 * 2 ** 20;

/** File systems that have no flush of a folder answer with one of these. */
const folderSyncUnsupported: ReadonlySet<string | undefined> = new Set(['EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM']);

export interface WriteCheckpointOptions {
  /** Where the checkpoint appears; its folder is made if it is not there. */
  readonly path: string;
  /** Holds parameters and moments, which must not change until this is done. */
  readonly memory: FlatMemory;
  readonly facts: CheckpointFacts;
  /** Where moments are shared out: they are gathered here. @default this worker holds them all */
  readonly sharding?: Sharding | null;
  readonly log: Log;
}

export interface WrittenCheckpoint {
  readonly weightsSha256: string;
  readonly numBytes: number;
}

/** @throws LockstepError ERR_DISK_FULL, ERR_CHECKPOINT_WRITE */
export async function writeCheckpoint(options: WriteCheckpointOptions): Promise<WrittenCheckpoint> {
  const { path, log } = options;
  const folder = dirname(path);
  const aside = asidePath(path);
  try {
    await mkdir(folder, { recursive: true });
    const written = await writeAside(aside, options);
    await rename(aside, path);
    await syncFolder(folder, log);
    log.info('checkpoint written', { path, step: options.facts.step, ...written });
    return written;
  } catch (thrown) {
    await rm(aside, { force: true }).catch((error: unknown) => log.warn('cannot remove a file', { aside, error }));
    throw writeError(thrown, path, options.facts.step);
  }
}

/** Unique, so that two writers of one step do not meet; begins with `.tmp-`, so that no reader takes it. */
function asidePath(path: string): string {
  return join(dirname(path), `.tmp-${basename(path)}-${randomUUID()}`);
}

/** The header holds digests of what follows it, so it is written last, over a gap of its length. */
async function writeAside(
  path: string,
  { memory, facts, sharding = null }: Pick<WriteCheckpointOptions, 'memory' | 'facts' | 'sharding'>,
): Promise<WrittenCheckpoint> {
  const parameters = parameterTensors(memory);
  const moments = momentTensors(memory, facts.optimizer, sharding);
  const header = (weightsSha256: string, momentsSha256: string) =>
    encodeHeader(
      [...parameters, ...moments],
      encodeCheckpoint({ format: CHECKPOINT_FORMAT, ...facts, weightsSha256, momentsSha256 }),
    );
  const gap = header('0'.repeat(64), '0'.repeat(64)).length;
  await using handle = await open(path, 'wx');
  const weights = await writeTensors(handle, parameters, gap);
  const rest = await writeTensors(handle, moments, weights.end);
  const finalHeader = header(weights.sha256, rest.sha256);
  assert(finalHeader.length === gap, `the header has ${finalHeader.length} bytes, and ${gap} are left for it`);
  await writeAll(handle, finalHeader, 0);
  await handle.sync();
  return { weightsSha256: weights.sha256, numBytes: rest.end };
}

async function writeTensors(
  handle: FileHandle,
  tensors: readonly StateTensor[],
  start: number,
): Promise<{ end: number; sha256: string }> {
  const hash = createHash('sha256');
  let position = start;
  for (const { pieces } of tensors) {
    for await (const bytes of pieces()) {
      await writeHashed(handle, bytes, hash, position);
      position += bytes.length;
    }
  }
  return { end: position, sha256: hash.digest('hex') };
}

async function writeHashed(handle: FileHandle, bytes: Uint8Array, hash: Hash, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    hash.update(piece);
    await writeAll(handle, piece, position + at);
  }
}

/** A write may take fewer bytes than it was given. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

/** Without this, a power cut can forget the rename. */
async function syncFolder(folder: string, log: Log): Promise<void> {
  await using handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!folderSyncUnsupported.has(errnoOf(error))) throw error;
    log.debug('this file system does not flush folders', { folder, error });
  }
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
