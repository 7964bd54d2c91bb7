/** The pace that the comm thread keeps with the compute thread: it takes each bucket as soon as its gradients are there. */
import type { StepWords } from './step-words.js';

interface ReadyBucketsOptions {
  readonly words: StepWords;
  /** Steps committed when the generation begins. */
  readonly step: number;
  /** Aborted when the generation ends: no reduction is begun any more, so nothing commits after a halt. */
  readonly over: AbortSignal;
  /** The gradients of a step are there, those of one bucket. */
  readonly onReady: (step: number, bucket: number) => void;
}

export class ReadyBuckets {
  readonly #options: ReadyBucketsOptions;
  /** Of each bucket, the steps that `onReady` was told of. */
  readonly #taken: number[];

  constructor(options: ReadyBucketsOptions) {
    this.#options = options;
    this.#taken = new Array<number>(options.words.numBuckets).fill(options.step);
  }

  /** Takes them as they get ready. Resolves when the generation has ended; rejects with what `onReady` throws. */
  async keepTaking(): Promise<void> {
    const { words } = this.#options;
    let isOpen = true;
    while (isOpen) {
      const { signal } = words;
      this.take();
      isOpen = await words.signalled(signal);
    }
  }

  /** Takes those that are ready by now. */
  take(): void {
    const { words, over, onReady } = this.#options;
    if (over.aborted) return;
    for (const [bucket, numTaken] of this.#taken.entries()) {
      const numReady = words.numReady(bucket);
      if (numReady === numTaken) continue;
      this.#taken[bucket] = numReady;
      onReady(numReady - 1, bucket);
    }
  }
}
