/** How long the comm thread takes for what, in memory that the compute thread reads. */

/** Milliseconds that the comm thread has spent: in its reductions, and in its updates. */
export type CommTimes = Float64Array<SharedArrayBuffer>;

export const networkIndex = 0;
export const optimizerIndex = 1;

export function makeCommTimes(): CommTimes {
  return new Float64Array(new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT));
}
