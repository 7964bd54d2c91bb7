import { ELEMENT_BYTES, LANES, loadOne, storeOne, VECTOR_BYTES } from './lanes';

// bfloat16 is the upper half of a float32.

const HALF_BYTES: u32 = 2;

/** Rounds to the nearest bfloat16, ties to even, still as float32; a NaN stays one, and is quiet. */
function round(vector: v128): v128 {
  const odd = v128.and(i32x4.shr_u(vector, 16), i32x4.splat(1));
  const nearest = i32x4.add(i32x4.add(vector, i32x4.splat(0x7fff)), odd);
  const quiet = v128.or(vector, i32x4.splat(0x00400000));
  const rounded = v128.bitselect(quiet, nearest, f32x4.ne(vector, vector));
  return v128.and(rounded, i32x4.splat(0xffff0000));
}

/** The upper halves of `a` and `b`, one after the other. */
function upperHalves(a: v128, b: v128): v128 {
  return i16x8.narrow_i32x4_u(i32x4.shr_u(a, 16), i32x4.shr_u(b, 16));
}

/** Rounds `n` float32 elements to what bfloat16 can hold, in place. */
export function roundBfloat16(address: usize, n: u32): void {
  for (; n >= LANES; n -= LANES) {
    v128.store(address, round(v128.load(address)));
    address += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    storeOne(address, round(loadOne(address)));
    address += ELEMENT_BYTES;
  }
}

/** Rounds `n` float32 elements at `src` to bfloat16 at `dst`, which may be `src`. */
export function packBfloat16(dst: usize, src: usize, n: u32): void {
  for (; n >= 2 * LANES; n -= 2 * LANES) {
    v128.store(dst, upperHalves(round(v128.load(src)), round(v128.load(src, 16))));
    dst += VECTOR_BYTES;
    src += 2 * VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    const rounded = round(loadOne(src));
    v128.store_lane<u16>(dst, upperHalves(rounded, rounded), 0);
    dst += HALF_BYTES;
    src += ELEMENT_BYTES;
  }
}

/** The float32 of `n` bfloat16 elements at `src`, at `dst`, which overlaps them nowhere. */
export function unpackBfloat16(dst: usize, src: usize, n: u32): void {
  for (; n >= LANES; n -= LANES) {
    v128.store(dst, i32x4.shl(v128.load_ext<u16>(src), 16));
    dst += VECTOR_BYTES;
    src += VECTOR_BYTES / 2;
  }
  for (; n > 0; n--) {
    store<u32>(dst, (<u32>load<u16>(src)) << 16);
    dst += ELEMENT_BYTES;
    src += HALF_BYTES;
  }
}
