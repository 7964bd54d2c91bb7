/** When a worker that died gets a successor: after a while that doubles, and so often only, as what kills them may stay. */

/** Before the first one, and doubled for each further one of late. */
const firstDelayMs = 250;
const maxDelayMs = 10_000;
/** What was longer ago is forgotten. */
export const replacementWindowMs = 600_000;

export class Replacements {
  readonly #maxReplacements: number;
  #startedMs: number[] = [];

  /** @param maxReplacements within `replacementWindowMs` */
  constructor(maxReplacements: number) {
    this.#maxReplacements = maxReplacements;
  }

  /** Time until the next one may start, which counts from now on; null: there are too many. */
  next(nowMs: number): number | null {
    this.#startedMs = this.#startedMs.filter((startedMs) => nowMs - startedMs < replacementWindowMs);
    const numBefore = this.#startedMs.length;
    if (numBefore >= this.#maxReplacements) return null;
    this.#startedMs.push(nowMs);
    return Math.min(maxDelayMs, firstDelayMs * 2 ** numBefore);
  }
}
