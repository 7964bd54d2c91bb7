/**
 * Announces the buckets of a step while it is computed, so that the comm thread can begin with those that are there. Each
 * bucket has a word of shared memory, which says how many steps it is ready for, and only grows.
 */
import { assert } from '../src/errors.js';
import type { Bucket } from '../src/collective/buckets.js';
import type { Layout } from '../src/state/layout.js';
import type { StepWords } from './comm/step-words.js';
import type { BucketSignals } from './compute/contribution.js';

export interface ReadinessOptions {
  readonly layout: Layout;
  readonly buckets: readonly Bucket[];
  /** Loss and metrics: what a pass gives before its gradients. @default all of the layout's scalars */
  readonly numMeasures?: number;
  readonly words: StepWords;
  /** The addon's waker that wakes the comm thread from inside of a step; 0 for none. */
  readonly waker: number;
}

export class Readiness {
  readonly #words: StepWords;
  readonly #signals: Omit<BucketSignals, 'value'>;

  constructor({ layout, buckets, words, waker, numMeasures = layout.numScalars }: ReadinessOptions) {
    assert(words.numBuckets === buckets.length, `There are ${words.numBuckets} words for ${buckets.length} buckets`);
    this.#words = words;
    this.#signals = { words: words.bucketWords, waker, ...piecesOf(layout, buckets, numMeasures) };
  }

  /** Whether the generation is over: nobody waits for these gradients any more. */
  get isOver(): boolean {
    return this.#words.isClosed;
  }

  /** The gradients of `step` are begun. */
  begin(step: number): void {
    this.#words.markBegun(step);
  }

  /** For the pass that completes the partials of `step`. Loss and metrics are missing then: `finish` follows. */
  during(step: number): BucketSignals {
    return { ...this.#signals, value: step + 1 };
  }

  /** All of `step` is there. */
  finish(step: number): void {
    this.#words.markReady(step);
  }
}

type Pieces = Pick<BucketSignals, 'first' | 'buckets' | 'elements' | 'numPieces'>;

interface Extent {
  readonly segment: number;
  readonly offset: number;
  readonly size: number;
}

/** What each output of a pass (loss and metrics first, then the parameters that it writes) has of each bucket. */
function piecesOf(
  { parameters, numScalars, scalars }: Layout,
  buckets: readonly Bucket[],
  numMeasures: number,
): Pieces {
  const written = parameters.filter(({ frozen }) => frozen !== true);
  const pieces = written.map((parameter) => piecesIn(buckets, parameter));
  // Loss and metrics are weighed when the pass is over: it writes no piece of them, and their bucket waits for one more.
  const outputs = [...Array.from({ length: numMeasures }, () => []), ...pieces];
  const awaited = [...piecesIn(buckets, { ...scalars, size: numScalars }), ...pieces.flat()];
  let numBefore = 0;
  const first = [0, ...outputs.map(({ length }) => (numBefore += length))];
  return {
    first: Int32Array.from(first),
    buckets: Int32Array.from(pieces.flat(), ({ index }) => index),
    elements: Int32Array.from(pieces.flat(), ({ elements }) => elements),
    numPieces: Int32Array.from(buckets, ({ index }) => awaited.filter((piece) => piece.index === index).length),
  };
}

function piecesIn(
  buckets: readonly Bucket[],
  { segment, offset, size }: Extent,
): { readonly index: number; readonly elements: number }[] {
  return buckets.flatMap((bucket) => {
    const from = Math.max(offset, bucket.offset);
    const to = Math.min(offset + size, bucket.offset + bucket.elements);
    return bucket.segment === segment && to > from ? [{ index: bucket.index, elements: to - from }] : [];
  });
}
