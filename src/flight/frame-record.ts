/**
 * The last frames that a worker sent and received, in memory that is made once: a frame costs the copy of its header. A record
 * is, little-endian:
 *
 *   offset  0  f64  when it was handed to the socket, or began to come in
 *           8  f64  when all of it had left, or was there; 0: it has not
 *          16  u32  rank of the peer
 *          20  u8   0 sent, 1 received
 *          24       the frame's header (src/protocol/frame.ts)
 */
import { decodeFrameHeader, frameHeaderBytes, type FrameHeader } from '../protocol/frame.js';

const headerOffset = 24;
const recordBytes = headerOffset + frameHeaderBytes;

export type FrameDirection = 'sent' | 'received';

export interface FrameRecord {
  readonly direction: FrameDirection;
  readonly peer: number;
  readonly atMs: number;
  /** Null: not all of it has gone, or come. */
  readonly doneMs: number | null;
  /** Null: it was damaged. */
  readonly header: FrameHeader | null;
}

export class FrameRing {
  readonly #capacity: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #numAdded = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#bytes = new Uint8Array(capacity * recordBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Returns the frame's number, for `done`. */
  add(direction: FrameDirection, peer: number, header: Uint8Array, atMs: number): number {
    const number = this.#numAdded++;
    const offset = (number % this.#capacity) * recordBytes;
    this.#view.setFloat64(offset, atMs, true);
    this.#view.setFloat64(offset + 8, 0, true);
    this.#view.setUint32(offset + 16, peer, true);
    this.#view.setUint8(offset + 20, direction === 'sent' ? 0 : 1);
    this.#bytes.set(header, offset + headerOffset);
    return number;
  }

  /** All of a frame has gone, or come, unless so many came after it that it is forgotten. */
  done(number: number, atMs: number): void {
    if (number < this.#numAdded - this.#capacity) return;
    this.#view.setFloat64((number % this.#capacity) * recordBytes + 8, atMs, true);
  }

  /** A copy of all records, oldest first. */
  bytes(): Uint8Array {
    const numKept = Math.min(this.#numAdded, this.#capacity);
    const end = this.#numAdded > this.#capacity ? (this.#numAdded % this.#capacity) * recordBytes : 0;
    const copy = new Uint8Array(numKept * recordBytes);
    const older = this.#bytes.subarray(end, numKept * recordBytes);
    copy.set(older);
    copy.set(this.#bytes.subarray(0, end), older.length);
    return copy;
  }
}

export function readFrameRecords(bytes: Uint8Array): FrameRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.byteLength / recordBytes) }, (_, index) => {
    const offset = index * recordBytes;
    const doneMs = view.getFloat64(offset + 8, true);
    return {
      direction: view.getUint8(offset + 20) === 0 ? 'sent' : 'received',
      peer: view.getUint32(offset + 16, true),
      atMs: view.getFloat64(offset, true),
      doneMs: doneMs === 0 ? null : doneMs,
      header: readHeader(bytes.subarray(offset + headerOffset, offset + recordBytes)),
    };
  });
}

function readHeader(bytes: Uint8Array): FrameHeader | null {
  try {
    return decodeFrameHeader(bytes);
  } catch {
    return null;
  }
}
