/**
 * The words of shared memory by which the compute thread and the comm thread pace one another: for each bucket how many
 * steps have their gradients ready, how many steps are begun, and how many are committed. Numbers only grow; a waiter is woken with
 * `Atomics.notify`.
 */
/** Grows with each change that the comm thread has to look at. */
const signalIndex = 0;
const committedIndex = 1;
const closedIndex = 2;
const begunIndex = 3;
const holderIndex = 4;
const firstBucketIndex = 5;

/** Of the word of who changes what others see: nobody, the compute thread, or nobody any more. */
const free = 0;
const held = 1;
const ended = 2;

/** For how long the compute thread blocks at most: so late it sees a drain or an abort. */
export const blockMs = 20;

export type SharedStepWords = Int32Array<SharedArrayBuffer>;

/** @param step the steps committed before the generation */
export function makeStepWords(step: number, numBuckets: number): SharedStepWords {
  const numWords = firstBucketIndex + numBuckets;
  const words = new Int32Array(new SharedArrayBuffer(numWords * Int32Array.BYTES_PER_ELEMENT));
  words.fill(step);
  words[closedIndex] = 0;
  words[holderIndex] = free;
  return words;
}

/** One generation's pacing, seen from either thread. Steps are counted from 0; `step` done means the word is `step + 1`. */
export class StepWords {
  readonly numBuckets: number;
  readonly #words: SharedStepWords;

  constructor(words: SharedStepWords) {
    this.#words = words;
    this.numBuckets = words.length - firstBucketIndex;
  }

  /** Compute thread: the gradients of `step` are being computed. */
  markBegun(step: number): void {
    Atomics.store(this.#words, begunIndex, step + 1);
  }

  /** Compute thread: the gradients of `step` are in shared memory, in every bucket. */
  markReady(step: number): void {
    for (let bucket = 0; bucket < this.numBuckets; bucket++) {
      Atomics.store(this.#words, firstBucketIndex + bucket, step + 1);
    }
    this.#signal();
  }

  /**
   * Of each bucket the steps whose gradients are ready, counted from the run's first: for who writes them while a step is
   * computed. The comm thread looks at them when it is woken.
   */
  get bucketWords(): SharedStepWords {
    return this.#words.subarray(firstBucketIndex);
  }

  /** Steps committed, of the run. */
  get numCommitted(): number {
    return Atomics.load(this.#words, committedIndex);
  }

  /** Who commits: the parameters are those after `step`. */
  markCommitted(step: number): void {
    Atomics.store(this.#words, committedIndex, step + 1);
    Atomics.notify(this.#words, committedIndex);
  }

  /** Compute thread: runs `action`, and the generation does not end meanwhile. Whether it had not ended before. */
  within(action: () => void): boolean {
    if (Atomics.compareExchange(this.#words, holderIndex, free, held) !== free) return false;
    try {
      action();
    } finally {
      Atomics.store(this.#words, holderIndex, free);
      Atomics.notify(this.#words, holderIndex);
    }
    return true;
  }

  /**
   * Comm thread: wakes every waiter for good. What runs `within` is waited for: it is one pass over the state at most.
   *
   * @param pulse called again and again meanwhile
   */
  close(pulse: () => void): void {
    while (Atomics.compareExchange(this.#words, holderIndex, free, ended) === held) {
      Atomics.wait(this.#words, holderIndex, held, blockMs);
      pulse();
    }
    Atomics.store(this.#words, closedIndex, 1);
    this.#signal();
    Atomics.notify(this.#words, committedIndex);
  }

  /** Whether the generation has ended. */
  get isClosed(): boolean {
    return Atomics.load(this.#words, closedIndex) !== 0;
  }

  /** Comm thread: how far the compute thread is with the step after those committed. */
  get stage(): 'between' | 'computing' | 'reducing' {
    const numBegun = Atomics.load(this.#words, begunIndex);
    if (numBegun <= this.numCommitted) return 'between';
    for (let bucket = 0; bucket < this.numBuckets; bucket++) if (this.numReady(bucket) < numBegun) return 'computing';
    return 'reducing';
  }

  /** Comm thread: the steps whose gradients are ready in a bucket, counted from the run's first. */
  numReady(bucket: number): number {
    return Atomics.load(this.#words, firstBucketIndex + bucket);
  }

  /** Comm thread: what `signalled` waits to see changed. */
  get signal(): number {
    return Atomics.load(this.#words, signalIndex);
  }

  /** Comm thread: resolves when buckets may have become ready since `signal` was `seen`; false when none ever will. */
  async signalled(seen: number): Promise<boolean> {
    return this.#changed(signalIndex, (signal) => signal !== seen);
  }

  /** Compute thread: resolves when `step` is committed; false when it will not be, as the generation has ended. */
  async committed(step: number): Promise<boolean> {
    return this.#changed(committedIndex, (numCommitted) => numCommitted > step);
  }

  /** Compute thread: blocks until `step` is committed, for `timeoutMs` at most. Whether it is. */
  blockUntilCommitted(step: number, timeoutMs: number): boolean {
    const numCommitted = Atomics.load(this.#words, committedIndex);
    if (numCommitted > step) return true;
    // A word that closes wakes this wait; one closed already must not begin it.
    if (this.isClosed) return false;
    Atomics.wait(this.#words, committedIndex, numCommitted, timeoutMs);
    return Atomics.load(this.#words, committedIndex) > step;
  }

  #signal(): void {
    Atomics.add(this.#words, signalIndex, 1);
    Atomics.notify(this.#words, signalIndex);
  }

  async #changed(index: number, enough: (value: number) => boolean): Promise<boolean> {
    for (;;) {
      const current = Atomics.load(this.#words, index);
      if (enough(current)) return true;
      if (this.isClosed) return false;
      const waiting = Atomics.waitAsync(this.#words, index, current);
      if (waiting.async) await waiting.value;
    }
  }
}
