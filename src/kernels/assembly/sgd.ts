import { ELEMENT_BYTES, flush, LANES, loadOne, storeOne, VECTOR_BYTES } from './lanes';

/** Plain gradient descent over `n` elements at `p`, in place: `p = p - g * learningRate`. */
export function sgd(p: usize, g: usize, n: u32, learningRate: f32): void {
  const rates = f32x4.splat(learningRate);
  for (; n >= LANES; n -= LANES) {
    v128.store(p, f32x4.sub(v128.load(p), f32x4.mul(v128.load(g), rates)));
    p += VECTOR_BYTES;
    g += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    storeOne(p, f32x4.sub(loadOne(p), f32x4.mul(loadOne(g), rates)));
    p += ELEMENT_BYTES;
    g += ELEMENT_BYTES;
  }
}

/** Momentum: `v = v * momentum - g * learningRate; p = p + v`, over `n` elements, `p` and `v` in place. */
export function momentum(p: usize, g: usize, v: usize, n: u32, learningRate: f32, momentum: f32): void {
  const rates = f32x4.splat(learningRate);
  const momenta = f32x4.splat(momentum);
  for (; n >= LANES; n -= LANES) {
    const velocity = flush(f32x4.sub(f32x4.mul(v128.load(v), momenta), f32x4.mul(v128.load(g), rates)));
    v128.store(v, velocity);
    v128.store(p, f32x4.add(v128.load(p), velocity));
    p += VECTOR_BYTES;
    g += VECTOR_BYTES;
    v += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    const velocity = flush(f32x4.sub(f32x4.mul(loadOne(v), momenta), f32x4.mul(loadOne(g), rates)));
    storeOne(v, velocity);
    storeOne(p, f32x4.add(loadOne(p), velocity));
    p += ELEMENT_BYTES;
    g += ELEMENT_BYTES;
    v += ELEMENT_BYTES;
  }
}

/** Nesterov's momentum: `v = v * momentum - g * learningRate; p = p + (v * momentum - g * learningRate)`. */
export function nesterov(p: usize, g: usize, v: usize, n: u32, learningRate: f32, momentum: f32): void {
  const rates = f32x4.splat(learningRate);
  const momenta = f32x4.splat(momentum);
  for (; n >= LANES; n -= LANES) {
    const descent = f32x4.mul(v128.load(g), rates);
    const velocity = flush(f32x4.sub(f32x4.mul(v128.load(v), momenta), descent));
    v128.store(v, velocity);
    v128.store(p, f32x4.add(v128.load(p), f32x4.sub(f32x4.mul(velocity, momenta), descent)));
    p += VECTOR_BYTES;
    g += VECTOR_BYTES;
    v += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    const descent = f32x4.mul(loadOne(g), rates);
    const velocity = flush(f32x4.sub(f32x4.mul(loadOne(v), momenta), descent));
    storeOne(v, velocity);
    storeOne(p, f32x4.add(loadOne(p), f32x4.sub(f32x4.mul(velocity, momenta), descent)));
    p += ELEMENT_BYTES;
    g += ELEMENT_BYTES;
    v += ELEMENT_BYTES;
  }
}
