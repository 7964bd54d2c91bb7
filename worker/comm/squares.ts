/**
 * The squares of a sharded run's sums, in memory: this worker's own, and where those of its peers come in. The norm that each
 * makes of them has the bits of the one of an optimizer that is not sharded (gradient-norm.ts).
 */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { trainableIn } from '../../src/collective/payload.js';
import { numSquares, planSquares, type SquaresPlan } from '../../src/collective/squares.js';
import { assert } from '../../src/errors.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { PageSquares } from './page-squares.js';
import type { Places } from './places.js';
import { SQUARES } from './regions.js';
import type { Sums } from './sums.js';

const numberBytes = Float64Array.BYTES_PER_ELEMENT;

export interface SquaresOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly places: Places;
  readonly sums: Sums;
}

export class Squares {
  readonly #options: SquaresOptions;
  readonly #plan: SquaresPlan;

  constructor(options: SquaresOptions) {
    this.#options = options;
    this.#plan = planSquares(options.plan.sharesSquares ? options.plan : { buckets: [] });
  }

  /** Takes in the sum of an own chunk. */
  take(bucket: RoutedBucket, chunk: Chunk, isFinite: boolean): void {
    const { memory, places, sums } = this.#options;
    const { segment } = bucket;
    const numbers = this.#numbersOf(bucket, chunk);
    let page = 0;
    const onPage = (squares: number): void => {
      numbers[page++] = squares;
    };
    const pages = new PageSquares({ memory, segment, address: sums.spare(segment), onPage });
    for (const block of sums.blocks(bucket, chunk)) {
      if (trainableIn(bucket, block) > 0) pages.take(places.result(bucket, chunk, block.offset), block.elements);
    }
    pages.end();
    numbers[page] = isFinite ? 0 : NaN;
  }

  /** Where the numbers of a rank for a segment lie. */
  share(rank: number, segment: number): { readonly address: number; readonly numBytes: number } {
    const share = this.#plan.shares.find((one) => one.rank === rank && one.segment === segment);
    assert(share, `rank ${rank} has no squares of segment ${segment}`);
    const start = this.#options.memory.address(SQUARES, segment);
    return { address: start + share.first * numberBytes, numBytes: share.count * numberBytes };
  }

  /** Everybody's numbers are here: the norm of the whole gradient; not finite where anything that has to be is not. */
  norm(): number {
    let total = 0;
    for (const bucket of this.#options.plan.buckets) {
      for (const chunk of bucket.chunks) for (const squares of this.#numbersOf(bucket, chunk)) total += squares;
    }
    return Math.sqrt(total);
  }

  #numbersOf(bucket: RoutedBucket, chunk: Chunk): Float64Array {
    const { memory } = this.#options;
    const { segment, index } = bucket;
    const first = this.#plan.chunks[index]?.[chunk.index];
    assert(first !== undefined, `chunk ${chunk.index} of bucket ${index} has no owner`);
    const count = numSquares(bucket, chunk);
    const address = memory.address(SQUARES, segment) + first * numberBytes;
    const { buffer, byteOffset } = memory.bytes(segment, address, count * numberBytes);
    return new Float64Array(buffer, byteOffset, count);
  }
}
