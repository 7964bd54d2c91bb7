import { ELEMENT_BYTES, LANES, loadOne, storeOne, VECTOR_BYTES } from './lanes';

/** `dst = a + b`, over `n` elements. `dst` may be `a` or `b`, and must not overlap them otherwise. */
export function add(dst: usize, a: usize, b: usize, n: u32): void {
  for (; n >= LANES; n -= LANES) {
    v128.store(dst, f32x4.add(v128.load(a), v128.load(b)));
    dst += VECTOR_BYTES;
    a += VECTOR_BYTES;
    b += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    storeOne(dst, f32x4.add(loadOne(a), loadOne(b)));
    dst += ELEMENT_BYTES;
    a += ELEMENT_BYTES;
    b += ELEMENT_BYTES;
  }
}

/** Copies `numBytes`. They may overlap. */
export function copy(dst: usize, src: usize, numBytes: u32): void {
  memory.copy(dst, src, numBytes);
}

/** `dst = a * factor`, over `n` elements. `dst` may be `a`. */
export function scale(dst: usize, a: usize, factor: f32, n: u32): void {
  const factors = f32x4.splat(factor);
  for (; n >= LANES; n -= LANES) {
    v128.store(dst, f32x4.mul(v128.load(a), factors));
    dst += VECTOR_BYTES;
    a += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    storeOne(dst, f32x4.mul(loadOne(a), factors));
    dst += ELEMENT_BYTES;
    a += ELEMENT_BYTES;
  }
}

/** All ones in the lanes that hold an infinity or NaN: those whose exponent bits are all set. */
function notFinite(vector: v128): v128 {
  const exponent = i32x4.splat(0x7f800000);
  return i32x4.eq(v128.and(vector, exponent), exponent);
}

/** 1 if none of the `n` elements is an infinity or NaN, else 0. */
export function allFinite(address: usize, n: u32): i32 {
  let found = i32x4.splat(0);
  for (; n >= LANES; n -= LANES) {
    found = v128.or(found, notFinite(v128.load(address)));
    address += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    found = v128.or(found, notFinite(loadOne(address)));
    address += ELEMENT_BYTES;
  }
  return i32(!v128.any_true(found));
}
