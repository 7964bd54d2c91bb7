/** Files in a folder of this machine, or one that it mounts: written aside, flushed to the disk, and renamed. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Log } from '../../src/log.js';
import type { CheckpointFiles, SourceFile, TargetFile } from './checkpoint-files.js';

/** File systems that have no flush of a folder answer with one of these. */
const folderSyncUnsupported: ReadonlySet<unknown> = new Set(['EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM']);

export const localFiles: CheckpointFiles = { isHere: true, open: openSource, create };

async function openSource(path: string): Promise<SourceFile> {
  const handle = await open(path, 'r');
  const { size } = await handle.stat();
  return { size, read: (target, position) => readAll(handle, target, position), close: () => handle.close() };
}

/** Makes the folder if it is not there. */
async function create(path: string, log: Log): Promise<TargetFile> {
  await mkdir(dirname(path), { recursive: true });
  const aside = asidePath(path);
  const handle = await open(aside, 'wx');
  return {
    write: (bytes, position) => writeAll(handle, bytes, position),
    keep: async () => {
      await handle.sync();
      await handle.close();
      await putInPlace(aside, path, log);
      return true;
    },
    discard: async () => {
      await handle.close();
      await rm(aside, { force: true });
    },
  };
}

/** Gives a file that is on the disk its name, for good. */
export async function putInPlace(aside: string, path: string, log: Log): Promise<void> {
  await rename(aside, path);
  await syncFolder(dirname(path), log);
}

/** Unique, so that two writers of one step do not meet; begins with `.tmp-`, so that no reader takes it. */
function asidePath(path: string): string {
  return join(dirname(path), `.tmp-${basename(path)}-${randomUUID()}`);
}

/** A read may give fewer bytes than there is room for. */
async function readAll(handle: FileHandle, target: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < target.length;) {
    const { bytesRead } = await handle.read(target, at, target.length - at, position + at);
    if (bytesRead === 0) throw new Error(`the file ends at byte ${position + at}, expected ${target.length - at} more`);
    at += bytesRead;
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
    const errno = error instanceof Error && 'code' in error ? error.code : undefined;
    if (!folderSyncUnsupported.has(errno)) throw error;
    log.debug('this file system does not flush folders', { folder, error });
  }
}
