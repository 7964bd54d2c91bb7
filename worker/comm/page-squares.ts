/**
 * The squares of what is taken in, added up in float64 page by page. A page's sum has the same bits in whatever parts its elements
 * come: each goes to one of eight sums, by its place in the page, and these are added at the page's end.
 */
import { pageElements } from '../../src/collective/buckets.js';
import { numSquareSums, type Kernels } from '../../src/kernels/kernels.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { floatBytes } from './places.js';

export interface PageSquaresOptions {
  readonly memory: FlatMemory;
  readonly segment: number;
  /** Where eight float64 may lie, in bytes. */
  readonly address: number;
  readonly onPage: (squares: number) => void;
}

export class PageSquares {
  readonly #kernels: Kernels;
  readonly #address: number;
  readonly #sums: Float64Array;
  readonly #onPage: (squares: number) => void;
  #numTaken = 0;

  constructor({ memory, segment, address, onPage }: PageSquaresOptions) {
    const { buffer, byteOffset } = memory.bytes(segment, address, numSquareSums * Float64Array.BYTES_PER_ELEMENT);
    this.#kernels = memory.kernels(segment);
    this.#address = address;
    this.#sums = new Float64Array(buffer, byteOffset, numSquareSums).fill(0);
    this.#onPage = onPage;
  }

  /** What follows on what was taken in before: a multiple of eight elements. */
  take(address: number, elements: number): void {
    for (let at = 0; at < elements;) {
      const part = Math.min(elements - at, pageElements - this.#numTaken);
      this.#kernels.sumSquares(this.#address, address + at * floatBytes, part);
      at += part;
      this.#numTaken += part;
      if (this.#numTaken === pageElements) this.end();
    }
  }

  /** The last page may be a part of one. */
  end(): void {
    if (this.#numTaken === 0) return;
    this.#onPage(this.#sums.reduce((sum, one) => sum + one, 0));
    this.#sums.fill(0);
    this.#numTaken = 0;
  }
}
