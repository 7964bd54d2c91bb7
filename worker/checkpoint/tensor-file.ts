/** A safetensors file that is read piece by piece, its tensors straight to where they belong. */
import { type FileHandle, open } from 'node:fs/promises';
import { LockstepError } from '../../src/errors.js';
import {
  parseHeader,
  parsePrefix,
  PREFIX_BYTES,
  type SafetensorsHeader,
  type StoredTensor,
} from '../../src/state/safetensors.js';

/** Most bytes that are read and hashed at once. */
const PIECE_BYTES = 4 * 2 ** 20;

export class TensorFile implements AsyncDisposable {
  readonly path: string;
  readonly header: SafetensorsHeader;
  /** The header as it lies in the file, with the length before it. */
  readonly headerBytes: Uint8Array;
  readonly #handle: FileHandle;

  private constructor(path: string, { header, bytes }: ReadHeader, handle: FileHandle) {
    this.path = path;
    this.header = header;
    this.headerBytes = bytes;
    this.#handle = handle;
  }

  /**
   * Opens the file and reads its header.
   *
   * @throws LockstepError ERR_CHECKPOINT_INVALID if it cannot be read, or is not a whole safetensors file
   */
  static async open(path: string): Promise<TensorFile> {
    const handle = await open(path, 'r').catch((error: unknown) => {
      throw readError(error, path);
    });
    try {
      return new TensorFile(path, await readHeader(handle, path), handle);
    } catch (error) {
      await handle.close();
      throw readError(error, path);
    }
  }

  /** Hands over the tensor's bytes in order, each piece with its place in the tensor; it is good during the call. */
  async readTensor({ start, numBytes }: StoredTensor, take: (at: number, piece: Uint8Array) => void): Promise<void> {
    const buffer = new Uint8Array(Math.min(numBytes, PIECE_BYTES));
    for (let at = 0; at < numBytes; at += PIECE_BYTES) {
      const piece = buffer.subarray(0, numBytes - at);
      await this.#read(piece, start + at);
      take(at, piece);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async #read(target: Uint8Array, position: number): Promise<void> {
    try {
      await readAll(this.#handle, target, position);
    } catch (error) {
      throw readError(error, this.path);
    }
  }
}

interface ReadHeader {
  readonly header: SafetensorsHeader;
  readonly bytes: Uint8Array;
}

async function readHeader(handle: FileHandle, path: string): Promise<ReadHeader> {
  const { size } = await handle.stat();
  const prefix = new Uint8Array(Math.min(size, PREFIX_BYTES));
  await readAll(handle, prefix, 0);
  const bytes = new Uint8Array(PREFIX_BYTES + parsePrefix(prefix, size, path));
  await readAll(handle, bytes, 0);
  return { header: parseHeader(bytes.subarray(PREFIX_BYTES), size, path), bytes };
}

/** A read may give fewer bytes than there is room for. */
async function readAll(handle: FileHandle, target: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < target.length;) {
    const { bytesRead } = await handle.read(target, at, target.length - at, position + at);
    if (bytesRead === 0) throw new Error(`the file ends at byte ${position + at}, expected ${target.length - at} more`);
    at += bytesRead;
  }
}

function readError(thrown: unknown, path: string): LockstepError {
  if (thrown instanceof LockstepError) return thrown;
  const fault = thrown instanceof Error ? thrown.message : String(thrown);
  return new LockstepError('ERR_CHECKPOINT_INVALID', `${path} cannot be read: ${fault}`, {
    cause: thrown,
    details: { path },
  });
}
