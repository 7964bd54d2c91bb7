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

export function checksum(address: usize, numBytes: u32): u32 {
  let a = seeds(0);
  let b = seeds(1);
  let c = seeds(2);
  let d = seeds(3);
  let e = seeds(4);
  let f = seeds(5);
  let g = seeds(6);
  let h = seeds(7);
  let rest = numBytes;
  for (; rest >= BLOCK_BYTES; rest -= BLOCK_BYTES) {
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
  a = mixLanes(mixLanes(mixLanes(mixLanes(a, b), c), d), e);
  a = mixLanes(mixLanes(mixLanes(a, f), g), h);
  for (; rest >= VECTOR_BYTES; rest -= VECTOR_BYTES) {
    a = mixLanes(a, v128.load(address));
    address += VECTOR_BYTES;
  }
  let hash = mix(numBytes, i32x4.extract_lane(a, 0));
  hash = mix(hash, i32x4.extract_lane(a, 1));
  hash = mix(hash, i32x4.extract_lane(a, 2));
  hash = mix(hash, i32x4.extract_lane(a, 3));
  for (; rest > 0; rest--) {
    hash = mix(hash, load<u8>(address));
    address++;
  }
  hash = (hash ^ (hash >>> 15)) * PRIME2;
  hash = (hash ^ (hash >>> 13)) * PRIME3;
  return hash ^ (hash >>> 16);
}
