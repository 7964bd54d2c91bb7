/**
 * The digest of bulk frames: 32 bits that change with any flipped bit, with words that trade places, and with the length.
 * It guards against damage, not against an adversary. XXH32's round (https://github.com/Cyan4973/xxHash) in 32 lanes
 * instead of 4, so that SIMD can run it. This is the specification; `Kernels.checksum` is the fast twin over
 * WebAssembly memory.
 */

const PRIME1 = 0x9e3779b1;
const PRIME2 = 0x85ebca77;
const PRIME3 = 0xc2b2ae3d;
const NUM_LANES = 32;
const ROW_LANES = 4;
const LANE_BYTES = 4;
const BLOCK_BYTES = NUM_LANES * LANE_BYTES;
const ROW_BYTES = ROW_LANES * LANE_BYTES;

/** One round. For a fixed word it is a bijection of the hash, and for a fixed hash one of the word. */
function mix(hash: number, word: number): number {
  const mixed = hash ^ Math.imul(word, PRIME2);
  return Math.imul((mixed << 13) | (mixed >>> 19), PRIME1);
}

/**
 * Digest of `bytes`, an unsigned 32-bit integer. All arithmetic is modulo 2^32, all words are little-endian:
 *
 * 1. Lane `i` of 32 begins as `(i + 1) * PRIME3`. Each whole block of 128 bytes is 32 words; lane `i` is mixed with word
 *    `i`: `mix(hash, word) = rotateLeft(hash ^ (word * PRIME2), 13) * PRIME1`.
 * 2. Lanes 0 to 3, the row, are mixed with lanes 4 to 7, then with 8 to 11, and so on to 31.
 * 3. Each whole 16 bytes of what is left is mixed into the row.
 * 4. `hash` begins as the number of bytes and is mixed with the row's four lanes, then with each byte of what is left.
 * 5. `hash ^= hash >>> 15; hash *= PRIME2; hash ^= hash >>> 13; hash *= PRIME3; hash ^= hash >>> 16`.
 */
export function checksum(bytes: Uint8Array): number {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lanes = Int32Array.from({ length: NUM_LANES }, (_, lane) => Math.imul(lane + 1, PRIME3));
  let at = 0;
  for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) mixWords(lanes, words, at);
  const row = lanes.slice(0, ROW_LANES);
  const laneWords = new DataView(new ArrayBuffer(BLOCK_BYTES));
  lanes.forEach((lane, index) => {
    laneWords.setInt32(index * LANE_BYTES, lane, true);
  });
  for (let from = ROW_BYTES; from < BLOCK_BYTES; from += ROW_BYTES) mixWords(row, laneWords, from);
  for (; at + ROW_BYTES <= bytes.length; at += ROW_BYTES) mixWords(row, words, at);
  let hash = bytes.length;
  for (const lane of row) hash = mix(hash, lane);
  for (const byte of bytes.subarray(at)) hash = mix(hash, byte);
  return avalanche(hash);
}

/** Mixes each lane with one of the words from byte `from` on. */
function mixWords(lanes: Int32Array, words: DataView, from: number): void {
  for (let lane = 0; lane < lanes.length; lane++) {
    lanes[lane] = mix(lanes[lane] ?? 0, words.getInt32(from + lane * LANE_BYTES, true));
  }
}

/** Lets every bit of the hash change about half of the result's (the end of XXH32). */
function avalanche(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 15), PRIME2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME3);
  return (hash ^ (hash >>> 16)) >>> 0;
}
