/**
 * The checkpoints of a worker that does not see the run directory: the coordinator reads and writes them there, a piece at a time.
 * One piece is under way at a time, so nobody holds more than that. While there is no coordinator, the pieces wait.
 */
import { basename } from 'node:path';
import type { MessagePort } from 'node:worker_threads';
import { isErrorCode, LockstepError } from '../../src/errors.js';
import { filePieceBytes, type FileQuestion } from '../../src/protocol/file-questions.js';
import type { FileAnswer } from '../../src/protocol/messages.js';
import type { Answer, Question } from '../comm/file-relay.js';
import type { CheckpointFiles, SourceFile, TargetFile } from './checkpoint-files.js';

interface Asked {
  readonly resolve: (answer: FileAnswer) => void;
  readonly reject: (error: LockstepError) => void;
}

export class RemoteFiles implements CheckpointFiles {
  readonly isHere = false;
  readonly #port: MessagePort;
  readonly #asked = new Map<number, Asked>();
  #last = 0;

  /** @param port whose other end the comm thread has (file-relay.ts) */
  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', ({ id, answer }: Answer) => {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      // It keeps its thread alive as long as somebody waits.
      if (this.#asked.size === 0) port.unref();
      if (!answer.failure) asked?.resolve(answer);
      else asked?.reject(errorOf(answer.failure));
    });
    port.unref();
  }

  async open(path: string): Promise<SourceFile> {
    const name = basename(path);
    const { size } = await this.#ask({ type: 'read-file', name, at: 0, length: 0 });
    return {
      size,
      read: async (target, position) => {
        for (let at = 0; at < target.length; at += filePieceBytes) {
          const piece = target.subarray(at, at + filePieceBytes);
          const { bytes } = await this.#ask({ type: 'read-file', name, at: position + at, length: piece.length });
          if (bytes.length < piece.length) throw new Error(`the file ends at byte ${position + at + bytes.length}`);
          piece.set(bytes);
        }
      },
      close: () => Promise.resolve(),
    };
  }

  create(path: string): Promise<TargetFile> {
    const name = basename(path);
    return Promise.resolve({
      write: async (bytes: Uint8Array, position: number) => {
        for (let at = 0; at < bytes.length; at += filePieceBytes) {
          // A copy: shared memory does not cross to another thread as bytes.
          const piece = bytes.slice(at, at + filePieceBytes);
          await this.#ask({ type: 'write-file', name, at: position + at, bytes: piece });
        }
      },
      keep: async () => {
        const { size } = await this.#ask({ type: 'keep-file', name });
        return size > 0;
      },
      // What was written aside goes when the coordinator next removes what is old.
      discard: () => Promise.resolve(),
    });
  }

  #ask(question: FileQuestion): Promise<FileAnswer> {
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#asked.set(id, { resolve, reject });
      this.#port.ref();
      this.#port.postMessage({ id, question } satisfies Question);
    });
  }
}

function errorOf({ code, message }: NonNullable<FileAnswer['failure']>): LockstepError {
  return new LockstepError(isErrorCode(code) ? code : 'ERR_INTERNAL', message);
}
