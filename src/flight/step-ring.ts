/**
 * A worker's last steps, in memory that its two threads share: the compute thread adds one when it is committed, the comm thread
 * tells of them in heartbeats and writes them down. One more is overwritten than is read, so that nobody sees half of one.
 */
import { stepColumns } from './records.js';

/** Steps that can be read. */
const numKept = 200;
/** The compute thread may be in the midst of one, and some further while they are read. */
const capacity = numKept + 56;
const width = stepColumns.length;

export interface SharedSteps {
  readonly rows: Float64Array<SharedArrayBuffer>;
  /** Steps added, modulo 2^32. */
  readonly count: Uint32Array<SharedArrayBuffer>;
}

export function makeSharedSteps(): SharedSteps {
  return {
    rows: new Float64Array(new SharedArrayBuffer(capacity * width * Float64Array.BYTES_PER_ELEMENT)),
    count: new Uint32Array(new SharedArrayBuffer(Uint32Array.BYTES_PER_ELEMENT)),
  };
}

export type StepRow = readonly [
  step: number,
  generation: number,
  begunMs: number,
  data: number,
  compute: number,
  network: number,
  optimizer: number,
  waiting: number,
  awaited: number,
  awaitedRank: number,
];

export class StepRing {
  readonly #rows: Float64Array;
  readonly #count: Uint32Array<SharedArrayBuffer>;

  constructor({ rows, count }: SharedSteps) {
    this.#rows = rows;
    this.#count = count;
  }

  add(row: StepRow): void {
    const number = Atomics.load(this.#count, 0);
    const at = (number % capacity) * width;
    // Element by element: `set` of a plain array takes ten times as long.
    for (let column = 0; column < width; column++) this.#rows[at + column] = row[column] ?? 0;
    Atomics.store(this.#count, 0, number + 1);
  }

  /** Steps that can be read. */
  get length(): number {
    return Math.min(Atomics.load(this.#count, 0), numKept);
  }

  /** Of the last step (1), of the one before it (2), …: what stands in a column, without a copy. */
  value(back: number, column: number): number {
    const number = Atomics.load(this.#count, 0) - back;
    return this.#rows[(number % capacity) * width + column] ?? 0;
  }

  /** The last ones, oldest first; at most so many. */
  last(atMost = numKept): number[][] {
    const end = Atomics.load(this.#count, 0);
    const number = Math.min(end, atMost, numKept);
    return Array.from({ length: number }, (_, index) => {
      const at = ((end - number + index) % capacity) * width;
      return [...this.#rows.subarray(at, at + width)];
    });
  }
}
