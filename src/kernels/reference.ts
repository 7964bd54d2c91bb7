/**
 * The kernels in plain TypeScript, one element at a time and rounded to float32 at each operation: what the kernels mean,
 * and what their tests hold them to. Arrays instead of addresses.
 */
import type { AdamCoefficients, SgdCoefficients } from './kernels.js';

export { checksum } from './checksum.js';

const f32 = Math.fround;

const SMALLEST_NORMAL = 2 ** -126;

/** `dst = a + b` */
export function add(dst: Float32Array, a: Float32Array, b: Float32Array): void {
  for (let i = 0; i < dst.length; i++) dst[i] = f32(at(a, i) + at(b, i));
}

/** `dst = a * factor` */
export function scale(dst: Float32Array, a: Float32Array, factor: number): void {
  for (let i = 0; i < dst.length; i++) dst[i] = f32(at(a, i) * f32(factor));
}

export interface AdamArrays {
  readonly parameters: Float32Array;
  readonly gradient: Float32Array;
  readonly moment1: Float32Array;
  readonly moment2: Float32Array;
}

/** One step of Adam or AdamW, in place. */
export function adam({ parameters, gradient, moment1, moment2 }: AdamArrays, coefficients: AdamCoefficients): void {
  const [beta1, share1] = [f32(coefficients.beta1), f32(coefficients.share1)];
  const [beta2, share2] = [f32(coefficients.beta2), f32(coefficients.share2)];
  const [stepSize, unbias2] = [f32(coefficients.stepSize), f32(coefficients.unbias2)];
  const [epsilon, decay] = [f32(coefficients.epsilon), f32(coefficients.decay)];
  for (let i = 0; i < parameters.length; i++) {
    const p = at(parameters, i);
    const g = at(gradient, i);
    const m = flush(f32(f32(at(moment1, i) * beta1) + f32(g * share1)));
    const v = flush(f32(f32(at(moment2, i) * beta2) + f32(f32(g * g) * share2)));
    const deviation = f32(f32(Math.sqrt(f32(v * unbias2))) + epsilon);
    const change = f32(f32(f32(m * stepSize) / deviation) + f32(p * decay));
    moment1[i] = m;
    moment2[i] = v;
    parameters[i] = f32(p - change);
  }
}

export interface SgdArrays {
  readonly parameters: Float32Array;
  readonly gradient: Float32Array;
  readonly moment1: Float32Array | undefined;
}

/** One step of gradient descent, in place. */
export function sgd({ parameters, gradient, moment1 }: SgdArrays, coefficients: SgdCoefficients): void {
  const [learningRate, momentum] = [f32(coefficients.learningRate), f32(coefficients.momentum)];
  for (let i = 0; i < parameters.length; i++) {
    const p = at(parameters, i);
    const descent = f32(at(gradient, i) * learningRate);
    if (moment1 === undefined) {
      parameters[i] = f32(p - descent);
      continue;
    }
    const velocity = flush(f32(f32(at(moment1, i) * momentum) - descent));
    moment1[i] = velocity;
    parameters[i] = f32(p + (coefficients.nesterov ? f32(f32(velocity * momentum) - descent) : velocity));
  }
}

/** `e = e * decay + p * (1 - decay)`, in place. */
export function average(e: Float32Array, p: Float32Array, decay: number): void {
  const share = f32(1 - decay);
  for (let i = 0; i < e.length; i++) e[i] = flush(f32(f32(at(e, i) * f32(decay)) + f32(at(p, i) * share)));
}

/** Adds the square of each element to one of the sums, in float64. */
export function sumSquares(sums: Float64Array, array: Float32Array): void {
  for (const [i, value] of array.entries()) {
    const lane = i % sums.length;
    sums[lane] = (sums[lane] ?? NaN) + value * value;
  }
}

/** The bfloat16 of each element, as the upper half of a float32: to the nearest, ties to even; a NaN stays one. */
export function packBfloat16(array: Float32Array): Uint16Array {
  const words = new Uint32Array(array.buffer, array.byteOffset, array.length);
  return Uint16Array.from(words, (word, i) => {
    if (Number.isNaN(array[i])) return (word >>> 16) | 0x40;
    return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  });
}

export function unpackBfloat16(halves: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
}

/** Whether no element is an infinity or NaN. */
export function allFinite(array: Float32Array): boolean {
  return array.every(Number.isFinite);
}

/** A denormal becomes zero, of the same sign or not: its bits are all cleared. */
function flush(value: number): number {
  return Math.abs(value) < SMALLEST_NORMAL ? 0 : value;
}

function at(array: Float32Array, index: number): number {
  return array[index] ?? NaN;
}
