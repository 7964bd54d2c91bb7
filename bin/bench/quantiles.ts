/** The figures that stand for many measurements of the same. */

/** The smallest value that so large a part of all does not exceed (nearest rank). @param part from 0 to 1 */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? NaN;
}
