/** The state on its way from those that have it, over links that keep their order and deliver when told to. */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { adam } from '../../src/optimizer/config.js';
import { decodeFrameHeader, encodeFrameHeader, frameHeaderBytes } from '../../src/protocol/frame.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { reserveRegions } from '../../worker/comm/reservation.js';
import { cutState } from '../../worker/comm/state-pieces.js';
import { StateTransfer } from '../../worker/comm/state-transfer.js';

const optimizer = adam();
/** Two segments, the second frozen in part, and pieces of several sizes. */
const layout = planLayout(
  [
    { name: 'a', shape: [1_100_000], trainable: true },
    { name: 'b', shape: [50], trainable: true },
    { name: 'c', shape: [33], trainable: false, frozen: true },
  ],
  2,
  { maxSegmentElements: 1_100_016 },
);
const common = { slots: 1, wire: 'float32', bucketBytes: 2 ** 22 } as const;
const regions = reserveRegions(layout, { ...common, optimizer, onNotFinite: 'stop' });

interface Message {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
}

class Peers {
  readonly memories: readonly FlatMemory[];
  readonly transfers: readonly StateTransfer[];
  readonly underWay: Message[] = [];
  readonly ending = new AbortController();

  constructor(values: readonly number[]) {
    this.memories = values.map((value) => {
      const memory = FlatMemory.create(layout, regions);
      for (const { segment, address, numBytes } of cutState(memory, optimizer)) {
        memory.bytes(segment, address, numBytes).fill(value);
      }
      return memory;
    });
    this.transfers = this.memories.map((memory, rank) => {
      const send = (to: number, header: Uint8Array, payload: Uint8Array): void => {
        this.underWay.push({ from: rank, to, bytes: Uint8Array.from(Buffer.concat([header, payload])) });
      };
      return new StateTransfer({ generation: 3, step: 9, memory, optimizer, signal: this.ending.signal, send });
    });
  }

  /** Until nothing is under way any more, or so many have come. */
  async deliver(most = Infinity, change: (message: Message) => Uint8Array = ({ bytes }) => bytes): Promise<number[]> {
    const senders: number[] = [];
    for (let idle = 0; idle < 20 && senders.length < most; idle++) {
      for (let next = this.underWay.shift(); next; next = senders.length < most ? this.underWay.shift() : undefined) {
        idle = 0;
        senders.push(next.from);
        await this.transfers[next.to]?.onFrame(next.from, change(next));
      }
      await turnOfTheEventLoop(); // a digest is made meanwhile
    }
    return senders;
  }

  /** What its pieces are filled with; NaN for one that is not all the same. */
  state(rank: number): number[] {
    const memory = this.memories[rank];
    const pieces = memory ? cutState(memory, optimizer) : [];
    const values = pieces.map(({ segment, address, numBytes }) => {
      const bytes = memory?.bytes(segment, address, numBytes) ?? new Uint8Array();
      const [first = NaN] = bytes;
      return Buffer.alloc(numBytes, first).equals(bytes) ? first : NaN;
    });
    return [...new Set(values)];
  }
}

describe('the state of a step', () => {
  test('comes from all that have it, whole, with frozen parameters and moments', async () => {
    const peers = new Peers([1, 5, 5]);
    const fetched = peers.transfers[0]?.fetch([1, 2]);
    const senders = await peers.deliver();
    await fetched;
    expect(peers.state(0)).toEqual([5]);
    expect(senders).toContain(1);
    expect(senders).toContain(2);
  });

  test('takes the place of the old one only when all of it is there', async () => {
    const peers = new Peers([1, 5]);
    void peers.transfers[0]?.fetch([1]);
    await peers.deliver(11);
    expect(peers.state(0)).toEqual([1]);
    await peers.deliver();
    expect(peers.state(0)).toEqual([5]);
  });

  test('that is not the same in all is taken from none', async () => {
    const peers = new Peers([1, 5, 6]);
    const fetched = peers.transfers[0]?.fetch([1, 2]).catch((error: unknown) => error);
    await peers.deliver();
    expect(await fetched).toMatchObject({ code: 'ERR_FRAME_CORRUPT' });
    expect((await fetched) as Error).toMatchObject({
      message: expect.stringContaining('not the same in all workers') as string,
    });
    expect(peers.state(0)).toEqual([1]);
  });

  const flipped = ({ bytes }: Message): Uint8Array => {
    if (bytes.length > frameHeaderBytes) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    return bytes;
  };
  const reheaded =
    (changes: object) =>
    ({ bytes }: Message): Uint8Array =>
      Buffer.concat([
        encodeFrameHeader({ ...decodeFrameHeader(bytes.subarray(0, frameHeaderBytes)), ...changes }),
        bytes.subarray(frameHeaderBytes),
      ]);

  test.each([
    ['with a flipped bit', flipped, 'does not match its checksum'],
    ['of another generation', reheaded({ generation: 2 }), 'generation 3'],
    ['of another step', reheaded({ step: 8 }), 'the state of step 9'],
    ['that there is not', reheaded({ bucket: 99 }), 'piece 99'],
  ])('refuses a piece %s', async (_, change, expected) => {
    const peers = new Peers([1, 5]);
    void peers.transfers[0]?.fetch([1]);
    await expect(peers.deliver(Infinity, change)).rejects.toThrow(expected);
    expect(peers.state(0)).toEqual([1]);
  });

  test('is refused where nobody asked for it', async () => {
    const peers = new Peers([1, 5]);
    void peers.transfers[1]?.fetch([0]);
    await peers.deliver(1);
    const [answer] = peers.underWay.filter(({ from }) => from === 0);
    await expect(peers.transfers[0]?.onFrame(1, answer?.bytes ?? new Uint8Array())).rejects.toThrow('not asked for');
  });
});
