/**
 * Decodes a file once per host: the result lies under $XDG_CACHE_HOME/lockstep/data (else ~/.cache/lockstep/data), where
 * every worker of the host reads it. Its name is made of the file's path, size, time of change and parse options, and it is
 * written aside and renamed, so a file there is whole, and any number of workers may write it at once. It may be deleted
 * at any time. Where it cannot be written, the result stays in memory; NODE_DEBUG=lockstep tells why.
 *
 * A cached file is the decoded bytes, then a footer: JSON, its length in 4 bytes, and a mark.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { debuglog } from 'node:util';
import { FileBytes, MemoryBytes, type Bytes } from './bytes.js';
import { contentOf, type DataFile } from './file.js';

/** Raised when the footer, or what any decoder writes, changes. */
const cacheVersion = 1;
const mark = Buffer.from('LKS1');
const footerTailBytes = 4 + mark.length;
const abandonedMs = 24 * 60 * 60 * 1000;
const debug = debuglog('lockstep');

/** Turns a file's content into what is kept: bytes, given to `write` in order, and facts about them, plain data. */
export type Decode<Facts> = (
  content: AsyncIterable<Buffer>,
  write: (bytes: Uint8Array) => Promise<void>,
) => Promise<Facts>;

export interface DecodeJob<Facts> {
  readonly file: DataFile;
  /** Plain data: what the result depends on beside the file. */
  readonly options: unknown;
  readonly decode: Decode<Facts>;
  readonly signal?: AbortSignal | undefined;
}

export interface Decoded<Facts> {
  readonly bytes: Bytes;
  readonly facts: Facts;
  /** Of the file's content, unpacked. */
  readonly sha256: string;
}

/** What a decoder made of the file, from the cache where it is there. */
export async function decodeOnce<Facts>(job: DecodeJob<Facts>): Promise<Decoded<Facts>> {
  const place = cachePlace(job);
  const cached = await openCached<Facts>(place.path);
  if (cached) return cached;
  try {
    return await decodeToFile(job, place);
  } catch (error) {
    if (!(error instanceof CacheUnavailable)) throw error;
    debug('%s is decoded in memory, because the cache cannot be written: %o', job.file.path, error.cause);
    return decodeToMemory(job);
  }
}

/** The cache cannot be written; nothing is wrong with the data. */
class CacheUnavailable extends Error {}

interface CachePlace {
  readonly folder: string;
  /** Names of one file's versions begin with this. */
  readonly prefix: string;
  readonly path: string;
}

function cachePlace({ file, options }: DecodeJob<unknown>): CachePlace {
  const { XDG_CACHE_HOME = '' } = process.env;
  const folder = join(XDG_CACHE_HOME === '' ? join(homedir(), '.cache') : XDG_CACHE_HOME, 'lockstep', 'data');
  const prefix = `${digest([cacheVersion, file.path, options])}-`;
  return { folder, prefix, path: join(folder, `${prefix}${digest([file.size, String(file.mtimeNs)])}.rows`) };
}

function digest(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}

interface Footer<Facts> {
  readonly facts: Facts;
  readonly sha256: string;
}

async function openCached<Facts>(path: string): Promise<Decoded<Facts> | undefined> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, footerTailBytes, size - footerTailBytes);
    if (!tail.subarray(4).equals(mark)) throw new Error('no mark at its end');
    const jsonBytes = tail.readUInt32LE(0);
    const dataBytes = size - footerTailBytes - jsonBytes;
    const json = await readAt(file, jsonBytes, dataBytes);
    const footer = JSON.parse(json.toString()) as Footer<Facts>; // written by this version for these options: the name says so
    return { bytes: new FileBytes(file, dataBytes), ...footer };
  } catch (error) {
    debug('%s is not a whole cached file and is made again: %o', path, error);
    await file.close();
    return undefined;
  }
}

async function readAt(file: FileHandle, numBytes: number, position: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(numBytes), 0, numBytes, Math.max(position, 0));
  if (bytesRead < numBytes) throw new Error('too short');
  return buffer;
}

async function decodeToFile<Facts>(job: DecodeJob<Facts>, place: CachePlace): Promise<Decoded<Facts>> {
  const aside = join(place.folder, `${place.prefix}${randomUUID()}.part`);
  const file = await orUnavailable(async () => {
    await mkdir(place.folder, { recursive: true, mode: 0o700 });
    return open(aside, 'wx+', 0o600);
  });
  try {
    let dataBytes = 0;
    const footer = await hashed(job, async (bytes) => {
      await orUnavailable(() => writeAll(file, bytes));
      dataBytes += bytes.length;
    });
    await orUnavailable(async () => {
      await writeAll(file, encodeFooter(footer));
      await file.datasync();
      await rename(aside, place.path);
      await removeOlder(place);
    });
    return { bytes: new FileBytes(file, dataBytes), ...footer };
  } catch (error) {
    await file.close();
    await rm(aside, { force: true });
    throw error;
  }
}

async function decodeToMemory<Facts>(job: DecodeJob<Facts>): Promise<Decoded<Facts>> {
  const chunks: Uint8Array[] = [];
  const footer = await hashed(job, (bytes) => {
    chunks.push(bytes.slice());
    return Promise.resolve();
  });
  return { bytes: new MemoryBytes(Buffer.concat(chunks)), ...footer };
}

async function hashed<Facts>(
  job: DecodeJob<Facts>,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<Footer<Facts>> {
  const hash = createHash('sha256');
  async function* content(): AsyncGenerator<Buffer> {
    for await (const chunk of contentOf(job.file, job.signal)) {
      hash.update(chunk);
      yield chunk;
    }
  }
  const facts = await job.decode(content(), write);
  return { facts, sha256: hash.digest('hex') };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
}

function encodeFooter(footer: Footer<unknown>): Buffer {
  const json = Buffer.from(JSON.stringify(footer));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([json, length, mark]);
}

/** Removes what the file was decoded to before it changed, and what killed workers left. */
async function removeOlder({ folder, prefix, path }: CachePlace): Promise<void> {
  for (const name of await readdir(folder)) {
    const other = join(folder, name);
    if (!name.startsWith(prefix) || other === path) continue;
    if (name.endsWith('.rows') || (await isAbandoned(other))) await rm(other, { force: true });
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined);
  return stats !== undefined && Date.now() - stats.mtimeMs > abandonedMs;
}

async function orUnavailable<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw new CacheUnavailable('The cache cannot be written', { cause: error });
  }
}
