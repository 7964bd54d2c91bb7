/**
 * How the owners of a sharded optimizer's chunks come to know the norm of the whole gradient, and whether a step is finite: each tells
 * all others the squares of what it has summed, one number for each page and a last one for each chunk, once it has all its sums.
 * Whoever has everybody's numbers adds them up in the order of the pages, which is the same for any number of owners. The last one of a
 * chunk adds nothing where the chunk is finite, and is NaN where it is not, also by its loss or its averages, which have no squares.
 */
import { pageElements, type Bucket } from './buckets.js';
import { trainableIn } from './payload.js';
import type { AllReducePlan, Chunk } from './plan.js';

/** What one rank tells of one segment: so many numbers, that lie together. */
export interface SquaresShare {
  readonly segment: number;
  readonly rank: number;
  /** Its place among the numbers of all ranks for this segment. */
  readonly first: number;
  readonly count: number;
}

export interface SquaresPlan {
  /** None is empty. */
  readonly shares: readonly SquaresShare[];
  /** By bucket and chunk, the place of its first number in its segment. */
  readonly chunks: readonly (readonly number[])[];
}

/** Of a range that begins on a page of the bucket: one for each page with trainable elements, and one that says whether it is finite. */
export function numSquares(bucket: Bucket, range: Pick<Chunk, 'offset' | 'elements'>): number {
  return Math.ceil(trainableIn(bucket, range) / pageElements) + 1;
}

/** Rank by rank in each segment, and of each rank in the order of the buckets. */
export function planSquares({ buckets }: Pick<AllReducePlan, 'buckets'>): SquaresPlan {
  const owned = buckets
    .flatMap((bucket) => bucket.chunks.map((chunk) => ({ bucket, chunk, rank: chunk.owner ?? 0 })))
    .toSorted((a, b) => a.bucket.segment - b.bucket.segment || a.rank - b.rank);
  const numbers = new Map<number, number>();
  const shares = new Map<string, SquaresShare>();
  const chunks = buckets.map(() => new Array<number>());
  for (const { bucket, chunk, rank } of owned) {
    const { segment } = bucket;
    const next = numbers.get(segment) ?? 0;
    const count = numSquares(bucket, chunk);
    const key = `${segment} ${rank}`;
    const share = shares.get(key) ?? { segment, rank, first: next, count: 0 };
    shares.set(key, { ...share, count: share.count + count });
    numbers.set(segment, next + count);
    (chunks[bucket.index] ?? [])[chunk.index] = next;
  }
  return { shares: [...shares.values()], chunks };
}

/** Which squares of a step this rank has told, and which have come. */
export class SquaresProgress {
  readonly #numOwned: number;
  readonly #own: readonly SquaresShare[];
  readonly #awaited: readonly SquaresShare[];
  readonly #missing = new Set<SquaresShare>();
  #numSummed = 0;

  constructor(plan: AllReducePlan) {
    const { shares } = planSquares(plan);
    this.#numOwned = plan.buckets.flatMap(({ chunks }) => chunks.filter(({ owner }) => owner === plan.rank)).length;
    this.#own = shares.filter(({ rank }) => rank === plan.rank);
    this.#awaited = shares.filter(({ rank }) => rank !== plan.rank);
    this.beginNext();
  }

  beginNext(): void {
    this.#numSummed = 0;
    for (const share of this.#awaited) this.#missing.add(share);
  }

  /** This rank has summed one more of its chunks: the segments of which it now tells. */
  onSummed(): number[] {
    this.#numSummed++;
    return this.#numSummed === this.#numOwned ? this.#own.map(({ segment }) => segment) : [];
  }

  isMissing(from: number, segment: number): boolean {
    return this.#find(from, segment) !== undefined;
  }

  onArrived(from: number, segment: number): void {
    const share = this.#find(from, segment);
    if (share) this.#missing.delete(share);
  }

  /** Whether the norm of the step is known here. */
  get isComplete(): boolean {
    return this.#numSummed === this.#numOwned && this.#missing.size === 0;
  }

  /** How many frames are here, and how many there are. */
  get numFrames(): readonly [here: number, all: number] {
    return [this.#awaited.length - this.#missing.size, this.#awaited.length];
  }

  /** Whose squares are not here. */
  get missingRanks(): readonly number[] {
    return [...this.#missing].map(({ rank }) => rank);
  }

  #find(from: number, segment: number): SquaresShare | undefined {
    return [...this.#missing].find((share) => share.rank === from && share.segment === segment);
  }
}
