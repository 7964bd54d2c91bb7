/**
 * A `.keras` file: a zip archive with the model's config, its weights and what Keras says of itself. Only the weights are unpacked,
 * under a name of ours, for the HDF5 library to read.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { open, type Entry, type ZipFile } from 'yauzl';
import { LockstepError, toLockstepError } from '../../../src/errors.js';

export class KerasArchive implements AsyncDisposable {
  readonly #path: string;
  readonly #zip: ZipFile;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #folders: string[] = [];

  private constructor(path: string, zip: ZipFile, entries: ReadonlyMap<string, Entry>) {
    this.#path = path;
    this.#zip = zip;
    this.#entries = entries;
  }

  /** @throws LockstepError ERR_MODEL_INVALID for what is no zip archive, or has names that lead out of it */
  static async open(path: string): Promise<KerasArchive> {
    const zip = await openZip(path);
    try {
      return new KerasArchive(path, zip, await entriesOf(zip));
    } catch (cause) {
      zip.close();
      throw invalid(path, cause);
    }
  }

  /** A member as text. */
  async text(name: string): Promise<string> {
    return this.#read(name, (stream) => text(stream));
  }

  /** Unpacks a member; returns where. It is removed with the archive's end. */
  async unpack(name: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'lockstep-keras-'));
    this.#folders.push(folder);
    const target = join(folder, 'member');
    await this.#read(name, (stream) => pipeline(stream, createWriteStream(target)));
    return target;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#zip.close();
    for (const folder of this.#folders) await rm(folder, { recursive: true, force: true });
  }

  async #read<T>(name: string, take: (stream: Readable) => Promise<T>): Promise<T> {
    const entry = this.#entries.get(name);
    if (!entry) throw invalid(this.#path, new Error(`it has no ${name}`));
    try {
      return await take(await streamOf(this.#zip, entry));
    } catch (cause) {
      throw invalid(this.#path, cause);
    }
  }
}

function openZip(path: string): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    open(path, { lazyEntries: true, autoClose: false }, (error, zip) => {
      if (error as unknown)
        reject(invalid(path, error)); // null, whatever the types say
      else resolve(zip);
    });
  });
}

/** All of them; yauzl refuses names that are absolute or have `..`. */
function entriesOf(zip: ZipFile): Promise<ReadonlyMap<string, Entry>> {
  const entries = new Map<string, Entry>();
  return new Promise((resolve, reject) => {
    zip.on('error', reject);
    zip.on('end', () => {
      resolve(entries);
    });
    zip.on('entry', (entry: Entry) => {
      entries.set(entry.fileName, entry);
      zip.readEntry();
    });
    zip.readEntry();
  });
}

function streamOf(zip: ZipFile, entry: Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => {
      if (error as unknown)
        reject(toLockstepError(error)); // null, whatever the types say
      else resolve(stream);
    });
  });
}

function invalid(path: string, cause: unknown): LockstepError {
  const fault = cause instanceof Error ? cause.message : String(cause);
  const message = `${path} is not a whole .keras file: ${fault}. Save the model again with model.save('….keras').`;
  return new LockstepError('ERR_MODEL_INVALID', message, { cause, details: { path, fault } });
}
