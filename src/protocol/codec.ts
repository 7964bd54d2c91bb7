/** Control messages on the wire: msgpack, validated by schema on the way in. Nothing malformed passes. */
import { Packr, Unpackr } from 'msgpackr';
import type { z } from 'zod';
import { LockstepError } from '../errors.js';

const packr = new Packr({ useRecords: false, moreTypes: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, moreTypes: false, mapsAsObjects: true, int64AsType: 'number' });

export function encodeMessage(message: object): Uint8Array {
  return packr.pack(message);
}

/**
 * One message of the given schema.
 *
 * @throws LockstepError ERR_PROTOCOL, saying what does not fit
 */
export function decodeMessage<T extends z.ZodType>(schema: T, bytes: Uint8Array): z.output<T> {
  const parsed = schema.safeParse(unpack(bytes));
  if (parsed.success) return parsed.data;
  const problem = parsed.error.issues[0];
  const where = problem?.path.map(String).join('.') ?? '';
  throw new LockstepError(
    'ERR_PROTOCOL',
    `A control message does not fit: ${where}: ${problem?.message ?? 'unknown'}.`,
  );
}

function unpack(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes);
  } catch (cause) {
    throw new LockstepError('ERR_PROTOCOL', `${bytes.byteLength} bytes came that are no msgpack.`, { cause });
  }
}
