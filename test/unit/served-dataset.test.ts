import { describe, expect, it } from 'vitest';
import type { FromWorker } from '../../src/protocol/messages.js';
import { RowRequests } from '../../worker/served-dataset.js';

type Request = Extract<FromWorker, { type: 'read-rows' }>;

/** A coordinator with rows of `width` floats, each the row's number. */
function serve(width: number): { rows: RowRequests; asked: number[][]; answer: (request: Request) => void } {
  const asked: number[][] = [];
  const answer = ({ request, indices }: Request): void => {
    asked.push(indices);
    const x = Float32Array.from(indices.flatMap((row) => new Array<number>(width).fill(row)));
    const bytes = (data: Float32Array | Int32Array): Uint8Array => {
      const odd = new Uint8Array(data.byteLength + 1); // as in a message: at an offset that fits no float
      odd.set(new Uint8Array(data.buffer), 1);
      return odd.subarray(1);
    };
    rows.settle({
      type: 'rows',
      request,
      x: { dtype: 'float32', shape: [indices.length, width], bytes: bytes(x) },
      y: { dtype: 'int32', shape: [indices.length, 1], bytes: bytes(Int32Array.from(indices)) },
    });
  };
  const rows = new RowRequests((message) => {
    if (message.type === 'read-rows')
      queueMicrotask(() => {
        answer(message);
      });
  });
  return { rows, asked, answer };
}

describe('served rows', () => {
  it('come in the order in which they were asked for', async () => {
    const { rows } = serve(2);
    const { x, y } = await rows.dataset('train', 10).read([7, 0, 3]);
    expect(x).toEqual({ data: Float32Array.of(7, 7, 0, 0, 3, 3), shape: [3, 2] });
    expect(y).toEqual({ data: Int32Array.of(7, 0, 3), shape: [3, 1] });
  });

  it('are asked for in pieces of a mebibyte once their size is known, and joined again', async () => {
    const { rows, asked } = serve(100_000);
    const data = rows.dataset('train', 10);
    await data.read([0]);
    const { x, y } = await data.read([5, 1, 9, 2, 8]);
    expect(asked).toEqual([[0], [5, 1], [9, 2], [8]]);
    expect(x.shape).toEqual([5, 100_000]);
    expect([0, 1, 2, 3, 4].map((row) => x.data[row * 100_000 + 99_999])).toEqual([5, 1, 9, 2, 8]);
    expect(y.data).toEqual(Int32Array.of(5, 1, 9, 2, 8));
  });

  it('that nobody asked for are a breach of the protocol', () => {
    const { answer } = serve(1);
    expect(() => {
      answer({ type: 'read-rows', request: 9, split: 'train', indices: [0] });
    }).toThrow('request 9');
  });
});
