import { ELEMENT_BYTES, flush, LANES, loadOne, storeOne, VECTOR_BYTES } from './lanes';

/** `old * beta + sample * share`: an exponential moving average. */
function average(old: v128, beta: v128, sample: v128, share: v128): v128 {
  return flush(f32x4.add(f32x4.mul(old, beta), f32x4.mul(sample, share)));
}

/** What to subtract from `p`. */
function change(p: v128, m: v128, v: v128, stepSize: v128, unbias2: v128, epsilon: v128, decay: v128): v128 {
  const deviation = f32x4.add(f32x4.sqrt(f32x4.mul(v, unbias2)), epsilon);
  return f32x4.add(f32x4.div(f32x4.mul(m, stepSize), deviation), f32x4.mul(p, decay));
}

/**
 * One step of Adam or AdamW over `n` elements at `p`, in place, with gradient `g` and moments `m` and `v`:
 *
 *     m = m * beta1 + g * share1
 *     v = v * beta2 + (g * g) * share2
 *     p = p - (m * stepSize / (sqrt(v * unbias2) + epsilon) + p * decay)
 *
 * Which float64 expression each coefficient is rounded from: see `AdamCoefficients` in ../kernels.ts.
 */
export function adam(
  p: usize,
  g: usize,
  m: usize,
  v: usize,
  n: u32,
  beta1: f32,
  share1: f32,
  beta2: f32,
  share2: f32,
  stepSize: f32,
  unbias2: f32,
  epsilon: f32,
  decay: f32,
): void {
  const beta1s = f32x4.splat(beta1);
  const share1s = f32x4.splat(share1);
  const beta2s = f32x4.splat(beta2);
  const share2s = f32x4.splat(share2);
  const stepSizes = f32x4.splat(stepSize);
  const unbias2s = f32x4.splat(unbias2);
  const epsilons = f32x4.splat(epsilon);
  const decays = f32x4.splat(decay);
  for (; n >= LANES; n -= LANES) {
    const gradient = v128.load(g);
    const moment1 = average(v128.load(m), beta1s, gradient, share1s);
    const moment2 = average(v128.load(v), beta2s, f32x4.mul(gradient, gradient), share2s);
    const parameter = v128.load(p);
    v128.store(m, moment1);
    v128.store(v, moment2);
    v128.store(p, f32x4.sub(parameter, change(parameter, moment1, moment2, stepSizes, unbias2s, epsilons, decays)));
    p += VECTOR_BYTES;
    g += VECTOR_BYTES;
    m += VECTOR_BYTES;
    v += VECTOR_BYTES;
  }
  for (; n > 0; n--) {
    const gradient = loadOne(g);
    const moment1 = average(loadOne(m), beta1s, gradient, share1s);
    const moment2 = average(loadOne(v), beta2s, f32x4.mul(gradient, gradient), share2s);
    const parameter = loadOne(p);
    storeOne(m, moment1);
    storeOne(v, moment2);
    storeOne(p, f32x4.sub(parameter, change(parameter, moment1, moment2, stepSizes, unbias2s, epsilons, decays)));
    p += ELEMENT_BYTES;
    g += ELEMENT_BYTES;
    m += ELEMENT_BYTES;
    v += ELEMENT_BYTES;
  }
}
