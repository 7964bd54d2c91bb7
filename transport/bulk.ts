/**
 * Bulk messages: a header of fixed length, and a payload that is written where it belongs as it comes in. On the wire each is
 * one binary WebSocket message in one frame (RFC 6455 section 5.2), with a mask of zeros from the side that dialled.
 */

/** Takes the bulk messages of one connection, one after the other. */
export interface BulkHandler {
  /** Bytes that each message begins with. */
  readonly headerBytes: number;
  /**
   * A message begins: where its payload of `numBytes` is to be written; null: nowhere. A message shorter than a header has
   * all its bytes in `header`, which is valid during the call only.
   */
  begin(header: Uint8Array, numBytes: number): Uint8Array | null;
  /** So many more bytes of the payload are there. */
  progress(numBytes: number): void;
  /** All of it is. */
  end(): void;
}

/** What the side that dialled puts before its frames, and the other does not. */
const maskBytes = 4;
const binaryOpcode = 0x82;
const maskBit = 0x80;

/** The head of a binary frame that is a whole message of `numBytes`. */
export function encodeFrameHead(numBytes: number, isMasked: boolean): Buffer {
  const lengthBytes = numBytes < 126 ? 0 : numBytes < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + lengthBytes + (isMasked ? maskBytes : 0));
  head[0] = binaryOpcode;
  head[1] = (isMasked ? maskBit : 0) | (lengthBytes === 0 ? numBytes : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(numBytes, 2);
  if (lengthBytes === 8) head.writeUIntBE(numBytes, 4, 6);
  return head;
}

export interface FrameHead {
  readonly isControl: boolean;
  /** A message of one frame, with a mask of zeros or none. */
  readonly isPlain: boolean;
  readonly isMasked: boolean;
  readonly headBytes: number;
  readonly payloadBytes: number;
}

/** Reads the head of the frame that begins at `at`; null where less than that is there. */
export function decodeFrameHead(bytes: Buffer, at: number, end: number): FrameHead | null {
  if (end - at < 2) return null;
  const first = bytes.readUInt8(at);
  const second = bytes.readUInt8(at + 1);
  const isMasked = (second & maskBit) !== 0;
  const short = second & 0x7f;
  const lengthBytes = short < 126 ? 0 : short === 126 ? 2 : 8;
  const headBytes = 2 + lengthBytes + (isMasked ? maskBytes : 0);
  if (end - at < headBytes) return null;
  const payloadBytes =
    lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
  const mask = isMasked ? bytes.readUInt32BE(at + headBytes - maskBytes) : 0;
  const isPlain = first === binaryOpcode && mask === 0;
  return { isControl: (first & 0x08) !== 0, isPlain, isMasked, headBytes, payloadBytes };
}
