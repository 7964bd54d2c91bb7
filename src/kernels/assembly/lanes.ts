// How all kernels read and write: four elements at a time, and the last one to three singly, in lane 0 of a vector whose
// other lanes are ignored. So the tail runs the same instructions as the rest, and has the same bits by construction.

/** Elements in a vector. */
export const LANES: u32 = 4;
export const VECTOR_BYTES: u32 = 16;
export const ELEMENT_BYTES: u32 = 4;

/** One element in lane 0; zero in the others. */
export function loadOne(address: usize): v128 {
  return v128.load_zero<u32>(address);
}

/** Lane 0 of `vector`. */
export function storeOne(address: usize, vector: v128): void {
  v128.store_lane<u32>(address, vector, 0);
}

/**
 * Denormals become zero. A moment whose gradient stays zero would else decay to a denormal and stay there, and every
 * later step over it would take the processor's slow path.
 */
export function flush(vector: v128): v128 {
  const smallestNormal = f32x4.splat(1.1754943508222875e-38);
  return v128.andnot(vector, f32x4.lt(f32x4.abs(vector), smallestNormal));
}
