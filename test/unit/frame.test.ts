import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrameHeader, encodeFrameHeader, type FrameHeader } from '../../src/protocol/frame.js';

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const headers: fc.Arbitrary<FrameHeader> = fc.record({
  kind: fc.constantFrom('partial', 'result', 'state', 'squares'),
  inPlace: fc.boolean(),
  generation: uint32,
  step: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  bucket: uint32,
  chunk: uint32,
  node: uint32,
  payloadBytes: uint32,
  checksum: uint32,
});

const header: FrameHeader = {
  kind: 'partial',
  inPlace: false,
  generation: 3,
  step: 70_000,
  bucket: 2,
  chunk: 1,
  node: 5,
  payloadBytes: 64,
  checksum: 0xdead_beef,
};

describe('the header of a bulk frame', () => {
  it('comes back as it was written', () => {
    fc.assert(
      fc.property(headers, (one) => {
        expect(decodeFrameHeader(encodeFrameHeader(one))).toEqual(one);
      }),
    );
  });

  it('is laid out as its page says', () => {
    const view = new DataView(encodeFrameHeader(header).buffer);
    expect([view.byteLength, view.getUint8(0), view.getUint8(1)]).toEqual([40, 2, 1]);
    expect([view.getUint32(4, true), view.getBigUint64(8, true), view.getUint32(24, true)]).toEqual([3, 70_000n, 5]);
  });

  it('is refused when any single bit of it is flipped', () => {
    fc.assert(
      fc.property(headers, fc.integer({ min: 0, max: 319 }), (one, bit) => {
        const bytes = encodeFrameHeader(one);
        const index = bit >> 3;
        bytes[index] = (bytes[index] ?? 0) ^ (1 << (bit & 7));
        expect(() => decodeFrameHeader(bytes)).toThrow();
      }),
    );
  });

  it('is refused when it is of another version or cut short, with both values named', () => {
    const bytes = encodeFrameHeader(header);
    bytes[0] = 9;
    expect(() => decodeFrameHeader(bytes)).toThrow('version 9 came; expected 2');
    expect(() => decodeFrameHeader(bytes.subarray(0, 12))).toThrow('has 40 bytes; 12 came');
  });
});
