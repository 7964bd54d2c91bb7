/** Finding a job's data files, and reading them from the start, unpacked. Says what is wrong with one in its own words. */
import { open, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { LockstepError, type ErrorDetails } from '../../src/errors.js';
import type { OpenContext } from '../../src/job/dataset.js';

export interface DataFile {
  /** As the job file has it: what messages call the file. */
  readonly name: string;
  /** Absolute, without links. */
  readonly path: string;
  readonly size: number;
  /** Time of the last change. */
  readonly mtimeNs: bigint;
  readonly gzip: boolean;
}

/** @throws LockstepError ERR_DATA_NOT_FOUND */
export async function findFile(name: string, context: OpenContext): Promise<DataFile> {
  const resolved = resolve(context.baseDir, name);
  try {
    const path = await realpath(resolved);
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) throw invalidData({ file: name }, `found something else, expected a file at ${resolved}`);
    return { name, path, size: Number(stats.size), mtimeNs: stats.mtimeNs, gzip: name.endsWith('.gz') };
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    throw new LockstepError(
      'ERR_DATA_NOT_FOUND',
      `The data file ${name} cannot be opened at ${resolved} (${systemCode(error)}). Paths in a job file start at the job file's folder.`,
      { cause: error, details: { file: name, path: resolved } },
    );
  }
}

/** The file's content from the start, unpacked where it is gzip. The file is closed when the loop over it ends. */
export async function* contentOf(file: DataFile, signal?: AbortSignal): AsyncGenerator<Buffer> {
  if (!file.gzip) {
    yield* chunksOf(file, signal);
    return;
  }
  const unpacked = createGunzip({ chunkSize: chunkBytes });
  const ended = pipeline(chunksOf(file, signal), unpacked).catch(() => undefined); // the loop throws the same error
  try {
    yield* unpacked as AsyncIterable<Buffer>; // no encoding is set, so the chunks are buffers
  } catch (error) {
    throw gzipError(file, error);
  } finally {
    await ended;
  }
}

const chunkBytes = 256 * 1024;

async function* chunksOf({ path }: DataFile, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes));
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

function gzipError(file: DataFile, error: unknown): unknown {
  const code = systemCode(error);
  if (code === 'Z_BUF_ERROR')
    return invalidData({ file: file.name }, 'the gzip data is cut short. Copy the file again', error);
  if (code.startsWith('Z_')) {
    const reason = error instanceof Error ? error.message : code;
    return invalidData({ file: file.name }, `the file is not valid gzip data (${reason})`, error);
  }
  return error;
}

function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/** Where in the data something is wrong. Lines, rows and columns are counted from 1. */
export interface DataPlace extends ErrorDetails {
  readonly file: string;
  readonly line?: number;
  readonly row?: number;
  readonly column?: number;
  /** The column's name in the header, or the field's. */
  readonly columnName?: string;
}

/** "digits.csv, line 12, column 3 ("age"): found …, expected …" */
export function invalidData(place: DataPlace, problem: string, cause?: unknown): LockstepError {
  const where = [
    place.file,
    place.line === undefined ? '' : `line ${place.line}`,
    place.row === undefined ? '' : `row ${place.row}`,
    place.column === undefined
      ? ''
      : `column ${place.column}${place.columnName === undefined ? '' : ` ("${place.columnName}")`}`,
  ];
  const message = `${where.filter((part) => part !== '').join(', ')}: ${problem}.`;
  return new LockstepError('ERR_DATA_INVALID', message, { cause, details: place });
}
