// Sums of squares in float64, four vectors of two sums each.

/** Elements that are added at once, each to a sum of its own. */
const SUMS: u32 = 8;
const SUMS_BYTES: u32 = 32;

/** Two sums, with the squares of elements 0 and 1 of `elements` added. */
function withSquares(sums: v128, elements: v128): v128 {
  const exact = f64x2.promote_low_f32x4(elements);
  return f64x2.add(sums, f64x2.mul(exact, exact));
}

/** Elements 2 and 3 in the place of 0 and 1. */
function upper(vector: v128): v128 {
  return v128.shuffle<u64>(vector, vector, 1, 0);
}

/**
 * Adds the squares of `n` elements to the eight float64 sums at `sums`: that of element i to sum i % 8, in the order of i.
 * `n` is a multiple of 8, so that a range in any such parts has the sums of the whole.
 */
export function sumSquares(sums: usize, address: usize, n: u32): void {
  let a = v128.load(sums);
  let b = v128.load(sums, 16);
  let c = v128.load(sums, 32);
  let d = v128.load(sums, 48);
  for (; n >= SUMS; n -= SUMS) {
    const first = v128.load(address);
    const second = v128.load(address, 16);
    a = withSquares(a, first);
    b = withSquares(b, upper(first));
    c = withSquares(c, second);
    d = withSquares(d, upper(second));
    address += SUMS_BYTES;
  }
  v128.store(sums, a);
  v128.store(sums, b, 16);
  v128.store(sums, c, 32);
  v128.store(sums, d, 48);
}
