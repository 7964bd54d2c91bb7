/** What the kernels are tried with. */
import fc from 'fast-check';

/** Any float32, with the values where kernels go wrong well represented. */
export const anyFloat = fc.oneof(
  { weight: 6, arbitrary: fc.float({ min: -4, max: 4, noNaN: true }) },
  { weight: 2, arbitrary: fc.float() },
  { weight: 2, arbitrary: fc.float({ min: Math.fround(-1e-37), max: Math.fround(1e-37), noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -0, NaN, Infinity, -Infinity, 2 ** -149, -(2 ** -126), 3.4e38) },
);

type F32 = Float32Array<ArrayBuffer>;
export type FourArrays = [F32, F32, F32, F32];

/** Four arrays of one length, which is rarely a multiple of the vector's. */
export const anyArrays = fc
  .integer({ min: 0, max: 70 })
  .chain((n) => fc.array(fc.array(anyFloat, { minLength: n, maxLength: n }), { minLength: 4, maxLength: 4 }))
  .map((arrays) => arrays.map((values) => Float32Array.from(values)) as FourArrays); // four, as asked

/** A coefficient that is a share of something. */
export const anyShare = fc.float({ min: 0, max: 1, noNaN: true });
