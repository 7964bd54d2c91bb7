/** A file that is written for other tools: under its name whole, or not at all. */
import { LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { TargetFile } from '../checkpoint/checkpoint-files.js';
import { localFiles } from '../checkpoint/local-files.js';

/**
 * Writes the pieces one after the other.
 *
 * @throws LockstepError ERR_EXPORT_WRITE
 */
export async function writeFileWhole(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  log: Log,
): Promise<void> {
  let target: TargetFile | null = null;
  try {
    target = await localFiles.create(path, log);
    let position = 0;
    for await (const piece of pieces) {
      await target.write(piece, position);
      position += piece.length;
    }
    await target.keep();
  } catch (thrown) {
    await target?.discard().catch(() => undefined); // what went wrong first is told
    throw writeError(path, thrown);
  }
}

/** What we ourselves say of the pieces stays as it is. */
export function writeError(path: string, thrown: unknown): LockstepError {
  if (thrown instanceof LockstepError) return thrown;
  const fault = thrown instanceof Error ? thrown.message : String(thrown);
  const message = `${path} cannot be written: ${fault}. Nothing of it is left. Check the folder, its permissions and its free space.`;
  return new LockstepError('ERR_EXPORT_WRITE', message, { cause: thrown, details: { path } });
}

/** The bytes of an array, not a copy. */
export function asBytes({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
