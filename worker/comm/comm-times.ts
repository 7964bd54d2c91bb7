/** What the reduction tells of its time, in memory that the compute thread reads. */

/**
 * Milliseconds so far: in reductions, in updates, and, as part of the first, until what others had to send was here. The last
 * number is the rank that the last reduction waited for longest.
 */
export type CommTimes = Float64Array<SharedArrayBuffer>;

export const networkIndex = 0;
export const optimizerIndex = 1;
export const awaitedIndex = 2;
export const awaitedRankIndex = 3;

/** The rank where everything was here already. */
export const nobody = -1;

export function makeCommTimes(): CommTimes {
  const times = new Float64Array(new SharedArrayBuffer(4 * Float64Array.BYTES_PER_ELEMENT));
  times[awaitedRankIndex] = nobody;
  return times;
}

export function spend(
  times: CommTimes,
  index: typeof networkIndex | typeof optimizerIndex | typeof awaitedIndex,
  ms: number,
): void {
  times[index] = (times[index] ?? 0) + ms;
}
