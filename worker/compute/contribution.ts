/** How one pass's results go into memory: with which weight, onto what is there or in its place, and who is told. */

/** A pass's share in its slot's partial. */
export interface Contribution {
  /** What each gradient and each state is multiplied by. */
  readonly weight: number;
  /** Whether it is added to what the outputs hold. */
  readonly accumulate: boolean;
  /** For the pass that completes the partials of a step, where another thread waits for them. */
  readonly signals?: BucketSignals | undefined;
}

/** The results as they are. */
export const asItIs: Contribution = { weight: 1, accumulate: false };

/**
 * Which parts of which buckets a pass writes, so that each bucket can be announced when all of it is there. All arrays may
 * be used by any thread.
 */
export interface BucketSignals {
  /** One for each bucket; a bucket that is ready has `value`. */
  readonly words: Int32Array;
  readonly value: number;
  /** A waker of the addon that is called for each ready bucket; 0 for none. */
  readonly waker: number;
  /**
   * Output `t` of a pass (loss, metrics, gradients, state) lies in the pieces `first[t]` to `first[t + 1] - 1`, in its
   * order: piece `p` is `elements[p]` elements of bucket `buckets[p]`.
   */
  readonly first: Int32Array;
  readonly buckets: Int32Array;
  readonly elements: Int32Array;
  /** Pieces of each bucket. A bucket that holds loss and metrics has one more than the pass writes. */
  readonly numPieces: Int32Array;
}

/**
 * `target = values * weight`, or with `accumulate` `target = target + values * weight`, each operation rounded to float32.
 * Two rounded operations, never a fused one: these are the bits that the addon has too.
 *
 * @param values `null` for zeros
 */
export function contribute(
  target: Float32Array,
  values: Float32Array | null,
  { weight, accumulate }: Pick<Contribution, 'weight' | 'accumulate'>,
): void {
  if (!accumulate && (values === null || weight === 1)) {
    if (values === null) target.fill(0);
    else target.set(values);
    return;
  }
  const factor = Math.fround(weight);
  for (let index = 0; index < target.length; index++) {
    const share = values === null ? 0 : Math.fround((values[index] ?? NaN) * factor);
    target[index] = accumulate ? (target[index] ?? NaN) + share : share;
  }
}
