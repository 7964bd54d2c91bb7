/** A safetensors file that is read piece by piece, its tensors straight to where they belong. */
import { LockstepError } from '../../src/errors.js';
import {
  parseHeader,
  parsePrefix,
  PREFIX_BYTES,
  type SafetensorsHeader,
  type StoredTensor,
} from '../../src/state/safetensors.js';
import type { CheckpointFiles, SourceFile } from './checkpoint-files.js';
import { localFiles } from './local-files.js';

/** Most bytes that are read and hashed at once. */
const PIECE_BYTES = 4 * 2 ** 20;

export class TensorFile implements AsyncDisposable {
  readonly path: string;
  readonly header: SafetensorsHeader;
  /** The header as it lies in the file, with the length before it. */
  readonly headerBytes: Uint8Array;
  readonly #file: SourceFile;

  private constructor(path: string, { header, bytes }: ReadHeader, file: SourceFile) {
    this.path = path;
    this.header = header;
    this.headerBytes = bytes;
    this.#file = file;
  }

  /**
   * Opens the file and reads its header.
   *
   * @throws LockstepError ERR_CHECKPOINT_INVALID if it cannot be read, or is not a whole safetensors file
   */
  static async open(path: string, files: CheckpointFiles = localFiles): Promise<TensorFile> {
    const file = await files.open(path).catch((error: unknown) => {
      throw readError(error, path);
    });
    try {
      return new TensorFile(path, await readHeader(file, path), file);
    } catch (error) {
      await file.close();
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
    await this.#file.close();
  }

  async #read(target: Uint8Array, position: number): Promise<void> {
    try {
      await this.#file.read(target, position);
    } catch (error) {
      throw readError(error, this.path);
    }
  }
}

interface ReadHeader {
  readonly header: SafetensorsHeader;
  readonly bytes: Uint8Array;
}

async function readHeader(file: SourceFile, path: string): Promise<ReadHeader> {
  const { size } = file;
  const prefix = new Uint8Array(Math.min(size, PREFIX_BYTES));
  await file.read(prefix, 0);
  const bytes = new Uint8Array(PREFIX_BYTES + parsePrefix(prefix, size, path));
  await file.read(bytes, 0);
  return { header: parseHeader(bytes.subarray(PREFIX_BYTES), size, path), bytes };
}

function readError(thrown: unknown, path: string): LockstepError {
  if (thrown instanceof LockstepError) return thrown;
  const fault = thrown instanceof Error ? thrown.message : String(thrown);
  return new LockstepError('ERR_CHECKPOINT_INVALID', `${path} cannot be read: ${fault}`, {
    cause: thrown,
    details: { path },
  });
}
