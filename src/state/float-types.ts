/** The 16-bit floats of weight files as float32, which holds each of them exactly. */
import type { StoredTensor } from './safetensors.js';

/**
 * Little-endian numbers of a file as float32; `bytes` must begin where a number does.
 *
 * @param dtype F32, F16 or BF16
 */
export function toFloat32(dtype: StoredTensor['dtype'], bytes: Uint8Array, target: Float32Array): void {
  if (dtype === 'F32') {
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
    return;
  }
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let index = 0; index < target.length; index++) {
    const half = (bytes[2 * index] ?? 0) | ((bytes[2 * index + 1] ?? 0) << 8);
    bits[index] = dtype === 'BF16' ? half << 16 : bitsOfHalf(half);
  }
}

/** IEEE 754 binary16 as the bits of the same number in binary32. */
function bitsOfHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f80_0000 | (fraction << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Below the normal range: fraction · 2^-24, which float32 has as a normal number.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}
