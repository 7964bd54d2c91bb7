import { ELEMENT_BYTES, flush, LANES, loadOne, storeOne, VECTOR_BYTES } from './lanes';

/** An exponential moving average over `n` elements at `e` of those at `p`, in place: `e = e * decay + p * share`. */
export function average(e: usize, p: usize, n: u32, decay: f32, share: f32): void {
  const decays = f32x4.splat(decay);
  const shares = f32x4.splat(share);
  for (; n >= LANES; n -= LANES) {
    v128.store(e, flush(f32x4.add(f32x4.mul(v128.load(e), decays), f32x4.mul(v128.load(p), shares))));
    e += VECTOR_BYTES;
    p += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    storeOne(e, flush(f32x4.add(f32x4.mul(loadOne(e), decays), f32x4.mul(loadOne(p), shares))));
    e += ELEMENT_BYTES;
    p += ELEMENT_BYTES;
  }
}
