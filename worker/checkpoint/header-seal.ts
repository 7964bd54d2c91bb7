/**
 * The checksum that a checkpoint's header carries of itself: SHA-256 of all its bytes, the length before the JSON and the
 * spaces behind it included, with zeros in the checksum's own place. With those of weights and moments, no byte of the file
 * is without one.
 */
import { createHash } from 'node:crypto';
import { assert } from '../../src/errors.js';

/** What the header is encoded with before it is sealed. */
export const UNSEALED = '0'.repeat(64);

/** Puts the checksum in its place. */
export function sealHeader(header: Uint8Array): Uint8Array {
  const sealed = Buffer.from(header);
  const at = placeOfSeal(sealed, UNSEALED);
  assert(at !== null, 'a header was to be sealed that has no place for it');
  sealed.write(sha256(header), at, 'latin1');
  return sealed;
}

/** What the checksum would have to be of a header that says it is `stated`. */
export function sealOf(header: Uint8Array, stated: string): string {
  const unsealed = Buffer.from(header);
  const at = placeOfSeal(unsealed, stated);
  if (at !== null) unsealed.write(UNSEALED, at, 'latin1');
  return sha256(unsealed);
}

/** Inside of a JSON string its quotes would be escaped, so this is found where it is a key and nowhere else. */
function placeOfSeal(header: Buffer, seal: string): number | null {
  const key = '"headerSha256":"';
  const at = header.indexOf(`${key}${seal}"`, 0, 'latin1');
  return at < 0 ? null : at + key.length;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
