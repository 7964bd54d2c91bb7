/** Bytes that can be read from any place: a file's, or those of memory where no file can be written. */
import { read } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { assert } from '../../src/errors.js';

export interface Bytes {
  readonly size: number;
  /** Fills `target` with the bytes from `position` on; all of them must be there. */
  readInto(target: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

export class FileBytes implements Bytes {
  readonly size: number;
  readonly #file: FileHandle;

  /** @param size the bytes of the file that count; owns `file` from now on */
  constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.size = size;
  }

  static async open(path: string): Promise<FileBytes> {
    const file = await open(path, 'r');
    return new FileBytes(file, (await file.stat()).size);
  }

  async readInto(target: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < target.length;) {
      const bytesRead = await readSome(this.#file.fd, target.subarray(done), position + done);
      assert(bytesRead > 0, `Byte ${position + done} lies behind the end of the file, which was longer when opened`);
      done += bytesRead;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

export class MemoryBytes implements Bytes {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  readInto(target: Uint8Array, position: number): Promise<void> {
    target.set(this.#bytes.subarray(position, position + target.length));
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** `FileHandle.read` does the same in twice the time, which counts where a batch is a read per row (measured, Node 20). */
function readSome(fd: number, target: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, target, 0, target.length, position, (error, bytesRead) => {
      if (error) reject(error);
      else resolve(bytesRead);
    });
  });
}
