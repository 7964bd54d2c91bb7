import { VECTOR_BYTES } from './lanes';

// The checksum that ../checksum.ts specifies, with its 32 lanes in eight vectors.

const PRIME1: u32 = 0x9e3779b1;
const PRIME2: u32 = 0x85ebca77;
const PRIME3: u32 = 0xc2b2ae3d;
const BLOCK_BYTES: u32 = 128;

function mix(hash: u32, word: u32): u32 {
  return rotl<u32>(hash ^ (word * PRIME2), 13) * PRIME1;
}

/** `mix` in each lane. */
function mixLanes(hashes: v128, words: v128): v128 {
  const mixed = v128.xor(hashes, i32x4.mul(words, i32x4.splat(PRIME2)));
  const rotated = v128.or(i32x4.shl(mixed, 13), i32x4.shr_u(mixed, 19));
  return i32x4.mul(rotated, i32x4.splat(PRIME1));
}

/** First hashes of lanes `4 * vector` to `4 * vector + 3`. */
function seeds(vector: u32): v128 {
  return i32x4.mul(i32x4.add(i32x4.splat(4 * vector + 1), i32x4(0, 1, 2, 3)), i32x4.splat(PRIME3));
}

/** Puts the first hashes of the 32 lanes at `state`, 128 bytes. */
export function checksumBegin(state: usize): void {
  for (let vector: u32 = 0; vector < 8; vector++) v128.store(state + VECTOR_BYTES * vector, seeds(vector));
}

/** Mixes whole blocks into the lanes at `state`: `numBytes` is a multiple of 128. */
export function checksumUpdate(state: usize, address: usize, numBytes: u32): void {
  let a = v128.load(state);
  let b = v128.load(state, 16);
  let c = v128.load(state, 32);
  let d = v128.load(state, 48);
  let e = v128.load(state, 64);
  let f = v128.load(state, 80);
  let g = v128.load(state, 96);
  let h = v128.load(state, 112);
  for (; numBytes >= BLOCK_BYTES; numBytes -= BLOCK_BYTES) {
    a = mixLanes(a, v128.load(address));
    b = mixLanes(b, v128.load(address, 16));
    c = mixLanes(c, v128.load(address, 32));
    d = mixLanes(d, v128.load(address, 48));
    e = mixLanes(e, v128.load(address, 64));
    f = mixLanes(f, v128.load(address, 80));
    g = mixLanes(g, v128.load(address, 96));
    h = mixLanes(h, v128.load(address, 112));
    address += BLOCK_BYTES;
  }
  v128.store(state, a);
  v128.store(state, b, 16);
  v128.store(state, c, 32);
  v128.store(state, d, 48);
  v128.store(state, e, 64);
  v128.store(state, f, 80);
  v128.store(state, g, 96);
  v128.store(state, h, 112);
}

/** The digest of `totalBytes`, of which the blocks are in `state` and the rest, less than a block, lies at `address`. */
export function checksumEnd(state: usize, address: usize, totalBytes: u32): u32 {
  let row = v128.load(state);
  for (let vector: u32 = 1; vector < 8; vector++) row = mixLanes(row, v128.load(state + VECTOR_BYTES * vector));
  let rest = totalBytes % BLOCK_BYTES;
  for (; rest >= VECTOR_BYTES; rest -= VECTOR_BYTES) {
    row = mixLanes(row, v128.load(address));
    address += VECTOR_BYTES;
  }
  let hash = mix(totalBytes, i32x4.extract_lane(row, 0));
  hash = mix(hash, i32x4.extract_lane(row, 1));
  hash = mix(hash, i32x4.extract_lane(row, 2));
  hash = mix(hash, i32x4.extract_lane(row, 3));
  for (; rest > 0; rest--) {
    hash = mix(hash, load<u8>(address));
    address++;
  }
  hash = (hash ^ (hash >>> 15)) * PRIME2;
  hash = (hash ^ (hash >>> 13)) * PRIME3;
  return hash ^ (hash >>> 16);
}
