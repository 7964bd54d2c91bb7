/** `base` to a natural power, by repeated squaring: `Math.pow` and `**` may round otherwise in another engine. */
export function power(base: number, exponent: number): number {
  let result = 1;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= base;
    base *= base;
  }
  return result;
}
