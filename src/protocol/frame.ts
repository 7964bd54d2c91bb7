/**
 * Bulk frames: a fixed header and raw little-endian float32, never packed element by element. All numbers of the header
 * are little-endian. A frame travels as one binary WebSocket message.
 *
 * offset  0  u8   frame version (2)
 *         1  u8   kind: 1 partial, 2 result, 3 moment request, 4 moment, 5 state request, 6 state, 7 squares
 *         2  u16  1: the receiver reads the bytes in the sender's memory, and none follow; else 0
 *         4  u32  generation
 *         8  u64  step
 *        16  u32  bucket; piece of the state (worker/comm/state-pieces.ts); segment of squares
 *        20  u32  chunk: its place in the bucket
 *        24  u32  tree node of a partial; number of a moment (1, 2); else 0
 *        28  u32  number of bytes that follow the header
 *        32  u32  checksum of those bytes (src/kernels)
 *        36  u32  checksum of the 36 bytes before
 */
import { LockstepError } from '../errors.js';

export const frameHeaderBytes = 40;
const frameVersion = 2;
const kinds = ['partial', 'result', 'moment-request', 'moment', 'state-request', 'state', 'squares'] as const;

export interface FrameHeader {
  readonly kind: (typeof kinds)[number];
  /** The bytes stay in the sender's memory, where the receiver reads them: `payloadBytes` is 0. */
  readonly inPlace: boolean;
  readonly generation: number;
  readonly step: number;
  readonly bucket: number;
  readonly chunk: number;
  readonly node: number;
  readonly payloadBytes: number;
  readonly checksum: number;
}

export function encodeFrameHeader(header: FrameHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(frameHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, frameVersion);
  view.setUint8(1, kinds.indexOf(header.kind) + 1);
  view.setUint16(2, header.inPlace ? 1 : 0, true);
  view.setUint32(4, header.generation, true);
  view.setUint32(8, header.step >>> 0, true);
  view.setUint32(12, Math.floor(header.step / 2 ** 32), true);
  view.setUint32(16, header.bucket, true);
  view.setUint32(20, header.chunk, true);
  view.setUint32(24, header.node, true);
  view.setUint32(28, header.payloadBytes, true);
  view.setUint32(32, header.checksum, true);
  view.setUint32(36, headerChecksum(view), true);
  return bytes;
}

/**
 * Reads a header, trusting none of it.
 *
 * @throws LockstepError ERR_PROTOCOL for what is no header of this version, ERR_FRAME_CORRUPT for a damaged one
 */
export function decodeFrameHeader(bytes: Uint8Array): FrameHeader {
  if (bytes.byteLength !== frameHeaderBytes) {
    throw new LockstepError(
      'ERR_PROTOCOL',
      `A bulk frame's header has ${frameHeaderBytes} bytes; ${bytes.byteLength} came.`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(0);
  if (version !== frameVersion) {
    throw new LockstepError('ERR_PROTOCOL', `A bulk frame of version ${version} came; expected ${frameVersion}.`);
  }
  if (view.getUint32(36, true) !== headerChecksum(view)) {
    throw new LockstepError('ERR_FRAME_CORRUPT', "A bulk frame's header does not match its checksum.");
  }
  const kind = kinds[view.getUint8(1) - 1];
  if (!kind)
    throw new LockstepError(
      'ERR_PROTOCOL',
      `A bulk frame of kind ${view.getUint8(1)} came; expected 1 to ${kinds.length}.`,
    );
  return {
    kind,
    inPlace: view.getUint16(2, true) === 1,
    generation: view.getUint32(4, true),
    step: view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32,
    bucket: view.getUint32(16, true),
    chunk: view.getUint32(20, true),
    node: view.getUint32(24, true),
    payloadBytes: view.getUint32(28, true),
    checksum: view.getUint32(32, true),
  };
}

/** Whether these are the first bytes of a frame with state, or that asks for it; nothing else of them is looked at. */
export function isStateFrame(first: Uint8Array | undefined): boolean {
  const kind = kinds[(first?.[1] ?? 0) - 1];
  return kind === 'state-request' || kind === 'state';
}

/** FNV-1a (Fowler, Noll, Vo) over the 36 bytes before the checksum. */
function headerChecksum(view: DataView): number {
  let hash = 0x811c9dc5;
  for (let offset = 0; offset < frameHeaderBytes - 4; offset++) {
    hash = Math.imul(hash ^ view.getUint8(offset), 0x01000193);
  }
  return hash >>> 0;
}
