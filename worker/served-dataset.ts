/** Rows that the coordinator reads for this worker (`data: { serve: true }`). */
import { assert, LockstepError } from '../src/errors.js';
import type { Batch, Column, Dataset } from '../src/job/dataset.js';
import type { FromCoordinator, FromWorker } from '../src/protocol/messages.js';

type Rows = Extract<FromCoordinator, { type: 'rows' }>;
type Split = Extract<FromWorker, { type: 'read-rows' }>['split'];

/** Requests that are under way, over all datasets of this worker. */
export class RowRequests {
  readonly #send: (message: FromWorker) => void;
  readonly #pending = new Map<number, (rows: Rows) => void>();
  #last = 0;

  constructor(send: (message: FromWorker) => void) {
    this.#send = send;
  }

  /** An answer came. */
  settle(rows: Rows): void {
    const resolve = this.#pending.get(rows.request);
    if (!resolve) throw new LockstepError('ERR_PROTOCOL', `Rows came for request ${rows.request}, which is not open.`);
    this.#pending.delete(rows.request);
    resolve(rows);
  }

  dataset(split: Split, length: number): Dataset {
    let rowBytes = 0; // known from the first answer on
    const read = async (indices: ArrayLike<number>): Promise<Batch> => {
      const parts = await Promise.all(pieces(Array.from(indices), rowBytes).map((piece) => this.#ask(split, piece)));
      rowBytes = Math.ceil(
        parts.reduce((sum, { x, y }) => sum + x.bytes.byteLength + y.bytes.byteLength, 0) / indices.length,
      );
      return { x: joinColumns(parts.map(({ x }) => x)), y: joinColumns(parts.map(({ y }) => y)) };
    };
    return { length, read };
  }

  #ask(split: Split, indices: number[]): Promise<Rows> {
    const request = ++this.#last;
    return new Promise((resolve) => {
      this.#pending.set(request, resolve);
      this.#send({ type: 'read-rows', request, split, indices });
    });
  }
}

/** An answer stays well below the largest control message, so that heartbeats need not wait behind it. */
const answerBytes = 1024 * 1024;

/** Requests of as many rows as fit in one answer, in order. */
function pieces(indices: readonly number[], rowBytes: number): number[][] {
  const numRows = rowBytes === 0 ? indices.length : Math.max(1, Math.floor(answerBytes / rowBytes));
  return Array.from({ length: Math.ceil(indices.length / numRows) }, (_, i) =>
    indices.slice(i * numRows, (i + 1) * numRows),
  );
}

const arrays = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array } as const;

/** Copies: the bytes of a message lie at any offset of a larger buffer. */
function joinColumns(parts: readonly Rows['x'][]): Column {
  const [first] = parts;
  assert(first, 'rows came in no part');
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part.bytes, offset);
    offset += part.bytes.byteLength;
  }
  const numRows = parts.reduce((sum, { shape: [rows = 0] }) => sum + rows, 0);
  return { data: new arrays[first.dtype](bytes.buffer), shape: [numRows, ...first.shape.slice(1)] };
}
