/**
 * Rows of a fixed number of numbers, read by number: in memory, or from a file in which only the wanted rows are read.
 * Whoever makes one has made sure that every number is usable.
 */
import { assert } from '../../src/errors.js';
import type { Bytes } from './bytes.js';
import {
  allocate,
  toValues,
  view,
  type ByteOrder,
  type Element,
  type Values,
  type ValuesConstructor,
} from './element.js';

/** Files and mapped rows up to this size are held in memory; larger ones are read row by row. */
export const defaultMemoryLimitBytes = 256 * 1024 * 1024;

export interface RowStore {
  readonly numRows: number;
  /** Numbers per row. */
  readonly rowLength: number;
  /**
   * Numbers `start` to `end` of each of the named rows, one row after another; the caller's to keep. In `spare`, where that
   * has just the room.
   */
  read(indices: ArrayLike<number>, start: number, end: number, spare?: Values): Values | Promise<Values>;
  close(): Promise<void>;
}

/** From so many numbers on, `TypedArray.set` is quicker than a loop (measured, Node 20). */
const longRow = 48;

export class MemoryRows implements RowStore {
  readonly numRows: number;
  readonly rowLength: number;
  readonly #values: Values;

  constructor(values: Values, numRows: number) {
    assert(values.length % numRows === 0, `${values.length} numbers are not ${numRows} equal rows`);
    this.#values = values;
    this.numRows = numRows;
    this.rowLength = values.length / numRows;
  }

  read(indices: ArrayLike<number>, start: number, end: number, spare?: Values): Values {
    const values = this.#values;
    const length = end - start;
    const make = values.constructor as ValuesConstructor; // Values has these three only
    const fits = spare?.length === indices.length * length && spare.constructor === make;
    const result = fits ? spare : new make(indices.length * length);
    const isWhole = length === this.rowLength;
    for (let i = 0; i < indices.length;) {
      const numRows = isWhole ? runLength(indices, i, this.numRows) : 1;
      const from = checkedIndex(indices, i, this.numRows) * this.rowLength + start;
      const count = numRows * length;
      if (count >= longRow) result.set(values.subarray(from, from + count), i * length);
      else for (let j = 0; j < count; j++) result[i * length + j] = values[from + j] ?? 0;
      i += numRows;
    }
    return result;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Where rows lie in a file: `shape[0]` rows of `shape[1] × …` numbers, row-major, from `offset` on. */
export interface RowLayout {
  readonly offset: number;
  readonly shape: readonly [number, ...number[]];
  readonly element: Element;
  readonly order: ByteOrder;
}

export class FileRows implements RowStore {
  readonly numRows: number;
  readonly rowLength: number;
  readonly #bytes: Bytes;
  readonly #layout: RowLayout;

  /** Owns `bytes` from now on. */
  constructor(bytes: Bytes, layout: RowLayout) {
    const [numRows, ...rowShape] = layout.shape;
    this.#bytes = bytes;
    this.#layout = layout;
    this.numRows = numRows;
    this.rowLength = sizeOf(rowShape);
  }

  async read(indices: ArrayLike<number>, start: number, end: number, spare?: Values): Promise<Values> {
    const { element, order } = this.#layout;
    const target = allocate(indices.length * (end - start) * element.bytes, spare);
    await Promise.all(this.#reads(indices, start, end, target));
    return toValues(view(target, element, order), element);
  }

  /** One read per row, or per run of neighbouring rows where they are read whole. */
  *#reads(indices: ArrayLike<number>, start: number, end: number, target: Buffer): Generator<Promise<void>> {
    const { offset, element } = this.#layout;
    const rowBytes = (end - start) * element.bytes;
    const whole = end - start === this.rowLength;
    let first = 0;
    while (first < indices.length) {
      const row = checkedIndex(indices, first, this.numRows);
      const next = first + (whole ? runLength(indices, first, this.numRows) : 1);
      const position = offset + (row * this.rowLength + start) * element.bytes;
      yield this.#bytes.readInto(target.subarray(first * rowBytes, next * rowBytes), position);
      first = next;
    }
  }

  close(): Promise<void> {
    return this.#bytes.close();
  }
}

/** How many rows from `first` on are neighbours, each the next one of the one before. */
function runLength(indices: ArrayLike<number>, first: number, numRows: number): number {
  const row = checkedIndex(indices, first, numRows);
  let next = first + 1;
  while (next < indices.length && indices[next] === row + next - first) next++;
  checkedIndex(indices, next - 1, numRows);
  return next - first;
}

function checkedIndex(indices: ArrayLike<number>, position: number, numRows: number): number {
  const index = indices[position] ?? -1;
  assert(Number.isInteger(index) && index >= 0 && index < numRows, `Row ${index} is not one of the ${numRows} rows`);
  return index;
}

/** Rows that are the whole of `bytes`: in memory up to the limit, else read when they are needed. Owns `bytes` from now on. */
export async function openRows(bytes: Bytes, layout: RowLayout, memoryLimitBytes: number): Promise<RowStore> {
  if (bytes.size > memoryLimitBytes) return new FileRows(bytes, layout);
  const memory = allocate(bytes.size);
  await bytes.readInto(memory, 0);
  await bytes.close();
  return new MemoryRows(toValues(view(memory, layout.element, layout.order), layout.element), layout.shape[0]);
}

/** Numbers in an array of this shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/** Rows to handle at a time in a pass over all of them: about a mebibyte. */
export function blockRowsOf(rowBytes: number): number {
  return Math.max(1, Math.floor((1024 * 1024) / Math.max(rowBytes, 1)));
}
