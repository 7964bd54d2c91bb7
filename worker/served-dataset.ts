/** Rows that the coordinator reads for this worker (`data: { serve: true }`). */
import { LockstepError } from '../src/errors.js';
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
    return { length, read: (indices) => this.#read(split, Array.from(indices)) };
  }

  async #read(split: Split, indices: number[]): Promise<Batch> {
    const request = ++this.#last;
    const rows = await new Promise<Rows>((resolve) => {
      this.#pending.set(request, resolve);
      this.#send({ type: 'read-rows', request, split, indices });
    });
    return { x: toColumn(rows.x), y: toColumn(rows.y) };
  }
}

const arrays = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array } as const;

/** Copies: the bytes of a message lie at any offset of a larger buffer. */
function toColumn({ dtype, shape, bytes }: Rows['x']): Column {
  const copy = Uint8Array.from(bytes);
  return { data: new arrays[dtype](copy.buffer), shape };
}
