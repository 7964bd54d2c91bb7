/**
 * Reads and writes checkpoints for workers that do not see the run directory, a piece at a time, so that it holds no more of a model
 * than that. What is written lies aside until it is kept. No file stays open: a coordinator that is back takes the next piece.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LockstepError, toLockstepError, type ErrorCode } from '../src/errors.js';
import { toFailure, type FileAnswer, type FromWorker } from '../src/protocol/messages.js';

type Question = Extract<FromWorker, { type: 'read-file' | 'write-file' | 'keep-file' }>;

const checkpointName = /^step-\d{8,16}\.safetensors$/;
const noBytes = new Uint8Array(0);

export interface CheckpointStoreOptions {
  readonly folder: string;
  /** Gives what lies aside its name, if it is whole, and removes what is old. False: a later one makes it needless. */
  readonly keep: (aside: string, path: string) => Promise<boolean>;
}

export class CheckpointStore {
  readonly #options: CheckpointStoreOptions;

  constructor(options: CheckpointStoreOptions) {
    this.#options = options;
  }

  async answer(workerId: string, question: Question): Promise<FileAnswer> {
    const { request } = question;
    const answered = { type: 'file', request, size: 0, bytes: noBytes, failure: null } as const;
    try {
      return { ...answered, ...(await this.#answer(workerId, question)) };
    } catch (thrown) {
      const error = thrown instanceof LockstepError ? thrown : errorOf(thrown, question);
      return { ...answered, failure: toFailure(error, null) };
    }
  }

  async #answer(workerId: string, question: Question): Promise<Partial<Pick<FileAnswer, 'size' | 'bytes'>>> {
    const { folder, keep } = this.#options;
    const { name } = question;
    if (!checkpointName.test(name)) throw new LockstepError('ERR_PROTOCOL', `"${name}" is no checkpoint's name.`);
    const path = join(folder, name);
    if (question.type === 'read-file') return read(path, question);
    const aside = join(folder, `.tmp-${name}-${createHash('sha256').update(workerId).digest('hex').slice(0, 16)}`);
    if (question.type === 'write-file') await write(aside, question);
    else if (await keep(aside, path)) return { size: await sizeOf(path) };
    return {};
  }
}

/** 0: a later one has driven it out by now. */
async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => null);
  return found?.size ?? 0;
}

async function read(
  path: string,
  { at, length }: { readonly at: number; readonly length: number },
): Promise<Pick<FileAnswer, 'size' | 'bytes'>> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const bytes = new Uint8Array(Math.max(0, Math.min(length, size - at)));
  let numRead = 0;
  while (numRead < bytes.length) {
    const { bytesRead } = await file.read(bytes, numRead, bytes.length - numRead, at + numRead);
    if (bytesRead === 0) break;
    numRead += bytesRead;
  }
  return { size, bytes: bytes.subarray(0, numRead) };
}

/** What is there already stays. */
async function write(path: string, { at, bytes }: { readonly at: number; readonly bytes: Uint8Array }): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}

function errorOf(thrown: unknown, { type, name }: Question): LockstepError {
  const errno = errnoOf(thrown);
  const isFull = errno === 'ENOSPC' || errno === 'EDQUOT';
  const whenNot: ErrorCode = type === 'read-file' ? 'ERR_CHECKPOINT_INVALID' : 'ERR_CHECKPOINT_WRITE';
  const { message } = toLockstepError(thrown);
  const what = type === 'read-file' ? 'read' : 'written';
  const text = `Checkpoint ${name} cannot be ${what} by the coordinator: ${message}`;
  return new LockstepError(isFull ? 'ERR_DISK_FULL' : whenNot, text, { cause: thrown });
}

function errnoOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
}
