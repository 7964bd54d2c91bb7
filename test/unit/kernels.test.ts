import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checksumOf,
  checksumStateBytes,
  instantiateKernels,
  type AdamCoefficients,
} from '../../src/kernels/kernels.js';
import * as reference from '../../src/kernels/reference.js';
import { anyArrays, anyShare, type FourArrays } from '../support/kernel-inputs.js';

const { checksum } = reference;

const ELEMENT_BYTES = 4;
const NUM_ARRAYS = 4;
/** Room for each array, with a gap after it that no kernel may touch. */
const ARRAY_BYTES = 1024;
const GAP = 7.5;

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const kernels = instantiateKernels(memory);
/** Where a checksum's state lies, far from what it is of. */
const checksumState = 32_768;

const anyCoefficients: fc.Arbitrary<AdamCoefficients> = fc.record({
  beta1: anyShare,
  share1: anyShare,
  beta2: anyShare,
  share2: anyShare,
  stepSize: fc.double({ min: 1e-6, max: 1, noNaN: true }),
  unbias2: fc.double({ min: 1, max: 1000, noNaN: true }),
  epsilon: fc.double({ min: 1e-8, max: 1e-3, noNaN: true }),
  decay: fc.constantFrom(0, 1e-5),
});

/** Bits, with every NaN the same: WebAssembly leaves a NaN's payload to the processor. */
function bits(array: Float32Array): number[] {
  const view = new Uint32Array(array.slice().buffer);
  return Array.from(view, (word, i) => (Number.isNaN(array[i]) ? 0x7fc00000 : word));
}

/** Puts the arrays into the memory, `shift` elements off a boundary, runs `kernel` on their addresses, and reads them back. */
function inMemory(
  arrays: readonly Float32Array[],
  shift: number,
  kernel: (addresses: [number, number, number, number]) => void,
) {
  const all = new Float32Array(memory.buffer);
  all.fill(GAP, 0, (NUM_ARRAYS * ARRAY_BYTES) / ELEMENT_BYTES);
  const addresses = arrays.map((_, i) => i * ARRAY_BYTES + shift * ELEMENT_BYTES);
  arrays.forEach((array, i) => all.set(array, (addresses[i] ?? 0) / ELEMENT_BYTES));
  kernel(addresses as [number, number, number, number]); // as many as there are arrays
  const written = arrays.reduce((sum, array) => sum + array.length, 0);
  const touched = all.subarray(0, (NUM_ARRAYS * ARRAY_BYTES) / ELEMENT_BYTES).filter((value) => !Object.is(value, GAP));
  return {
    results: arrays.map((array, i) => new Float32Array(memory.buffer, addresses[i], array.length).slice()),
    withinArrays: touched.length <= written,
  };
}

/** Runs a kernel and its twin on the same arrays and compares all bits of all of them. */
function expectSameBits(
  arrays: FourArrays,
  shift: number,
  kernel: (addresses: [number, number, number, number], n: number) => void,
  twin: (arrays: FourArrays) => void,
) {
  const expected = arrays.map((array) => array.slice()) as FourArrays; // four, as given
  twin(expected);
  const { results, withinArrays } = inMemory(arrays, shift, (addresses) => kernel(addresses, arrays[0].length));
  expect(results.map(bits)).toEqual(expected.map(bits));
  expect(withinArrays).toBe(true);
}

/** Bytes of any length up to `max`, the long ones as often as the short ones. */
const anyBytes = (min: number, max: number) =>
  fc.integer({ min, max }).chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));

const anyShift = fc.integer({ min: 0, max: 5 });

describe('a kernel has the bits of its plain twin, for any values, length and alignment', () => {
  it('add', () => {
    fc.assert(
      fc.property(anyArrays, anyShift, (arrays, shift) =>
        expectSameBits(
          arrays,
          shift,
          ([dst, a, b], n) => kernels.add(dst, a, b, n),
          ([dst, a, b]) => reference.add(dst, a, b),
        ),
      ),
    );
  });

  it('add, in place of its first or its second operand', () => {
    fc.assert(
      fc.property(anyArrays, anyShift, fc.boolean(), (arrays, shift, first) =>
        expectSameBits(
          arrays,
          shift,
          ([a, b], n) => kernels.add(first ? a : b, a, b, n),
          ([a, b]) => reference.add(first ? a : b, a, b),
        ),
      ),
    );
  });

  it('scale', () => {
    fc.assert(
      fc.property(anyArrays, anyShift, fc.double(), (arrays, shift, factor) =>
        expectSameBits(
          arrays,
          shift,
          ([dst, a], n) => kernels.scale(dst, a, factor, n),
          ([dst, a]) => reference.scale(dst, a, factor),
        ),
      ),
    );
  });

  it('adam', () => {
    fc.assert(
      fc.property(anyArrays, anyShift, anyCoefficients, (arrays, shift, coefficients) =>
        expectSameBits(
          arrays,
          shift,
          ([parameters, gradient, moment1, moment2], n) =>
            kernels.adam({ parameters, gradient, moment1, moment2 }, n, coefficients),
          ([parameters, gradient, moment1, moment2]) =>
            reference.adam({ parameters, gradient, moment1, moment2 }, coefficients),
        ),
      ),
    );
  });

  it.each([
    { with: 'no momentum', useMoment: false, nesterov: false },
    { with: 'momentum', useMoment: true, nesterov: false },
    { with: 'Nesterov momentum', useMoment: true, nesterov: true },
  ])('sgd with $with', ({ useMoment, nesterov }) => {
    fc.assert(
      fc.property(anyArrays, anyShift, fc.double({ min: 0, max: 1, noNaN: true }), (arrays, shift, momentum) => {
        const coefficients = { learningRate: 0.013, momentum, nesterov };
        expectSameBits(
          arrays,
          shift,
          ([parameters, gradient, velocity], n) =>
            kernels.sgd({ parameters, gradient, moment1: useMoment ? velocity : undefined }, n, coefficients),
          ([parameters, gradient, velocity]) =>
            reference.sgd({ parameters, gradient, moment1: useMoment ? velocity : undefined }, coefficients),
        );
      }),
    );
  });

  it.each([
    { dst: 'elsewhere', at: 2 * ARRAY_BYTES },
    { dst: 'in place', at: 0 },
  ])('packBfloat16, $dst', ({ at }) => {
    fc.assert(
      fc.property(anyArrays, anyShift, ([array], shift) => {
        inMemory([array], shift, ([address]) => {
          kernels.packBfloat16(address + at, address, array.length);
          const packed = new Uint16Array(memory.buffer.slice(address + at, address + at + 2 * array.length));
          expect(packed).toEqual(reference.packBfloat16(array));
        });
      }),
    );
  });

  it('unpackBfloat16 and roundBfloat16', () => {
    fc.assert(
      fc.property(anyArrays, anyShift, ([array], shift) => {
        const halves = reference.packBfloat16(array);
        const expected = bits(reference.unpackBfloat16(halves));
        const { results, withinArrays } = inMemory([array, array], shift, ([address, other], n = array.length) => {
          kernels.roundBfloat16(address, n);
          new Uint8Array(memory.buffer, 3 * ARRAY_BYTES, 2 * n).set(new Uint8Array(halves.buffer));
          kernels.unpackBfloat16(other, 3 * ARRAY_BYTES, n);
          new Float32Array(memory.buffer, 3 * ARRAY_BYTES, n).fill(GAP);
        });
        expect(results.map(bits)).toEqual([expected, expected]);
        expect(withinArrays).toBe(true);
      }),
    );
  });

  it('allFinite', () => {
    fc.assert(
      fc.property(anyArrays, anyShift, ([array], shift) => {
        const expected = reference.allFinite(array);
        inMemory([array], shift, ([address]) => {
          expect(kernels.allFinite(address, array.length)).toBe(expected);
        });
      }),
    );
  });

  it('copy, of bytes anywhere, onto themselves too', () => {
    fc.assert(
      fc.property(
        anyBytes(0, 700),
        fc.integer({ min: 0, max: 900 }),
        fc.integer({ min: 0, max: 900 }),
        (bytes, from, to) => {
          new Uint8Array(memory.buffer, from, bytes.length).set(bytes);
          kernels.copy(to, from, bytes.length);
          expect(new Uint8Array(memory.buffer, to, bytes.length).slice()).toEqual(bytes);
        },
      ),
    );
  });

  it('checksum', () => {
    fc.assert(
      fc.property(anyBytes(0, 700), fc.integer({ min: 0, max: 17 }), (bytes, address) => {
        new Uint8Array(memory.buffer, address, bytes.length).set(bytes);
        expect(checksumOf(kernels, checksumState, address, bytes.length)).toBe(checksum(bytes));
      }),
    );
  });

  it('checksum, of bytes that come in pieces', () => {
    const blocks = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 });
    fc.assert(
      fc.property(blocks, anyBytes(0, 127), fc.integer(), (pieces, rest, seed) => {
        const inBlocks = pieces.reduce((sum, piece) => sum + piece, 0) * checksumStateBytes;
        const bytes = Uint8Array.from({ length: inBlocks + rest.length }, (_, i) => Math.imul(i, seed) >> 8);
        new Uint8Array(memory.buffer, 0, bytes.length).set(bytes);
        kernels.checksumBegin(checksumState);
        let at = 0;
        for (const piece of pieces) {
          kernels.checksumUpdate(checksumState, at, piece * checksumStateBytes);
          at += piece * checksumStateBytes;
        }
        expect(kernels.checksumEnd(checksumState, at, bytes.length)).toBe(checksum(bytes));
      }),
    );
  });
});

describe('kernels', () => {
  it('find a single infinity or NaN at every place of an array', () => {
    const n = 21;
    const array = new Float32Array(memory.buffer, 0, n);
    for (const value of [Infinity, -Infinity, NaN]) {
      for (let place = 0; place < n; place++) {
        array.fill(Math.fround(3.4e38));
        array[place] = value;
        expect(kernels.allFinite(0, n), `${value} at ${place}`).toBe(false);
      }
    }
    array.fill(Math.fround(-3.4e38));
    expect(kernels.allFinite(0, n)).toBe(true);
  });

  it('round to bfloat16 as IEEE 754 has it', () => {
    // float32 bits → bfloat16 bits: exact, below and above half, ties to even and to the even above, overflow, NaN, -0.
    const cases = [
      [0x3f800000, 0x3f80],
      [0x3f807fff, 0x3f80],
      [0x3f808001, 0x3f81],
      [0x3f808000, 0x3f80],
      [0x3f818000, 0x3f82],
      [0x7f7fffff, 0x7f80],
      [0x7f800001, 0x7fc0],
      [0xffffffff, 0xffff],
      [0x80000000, 0x8000],
      [0x00000001, 0x0000],
    ] as const;
    new Uint32Array(memory.buffer, 0, cases.length).set(cases.map(([word]) => word));
    kernels.packBfloat16(1024, 0, cases.length);
    const found = [...new Uint16Array(memory.buffer, 1024, cases.length)];
    expect(found.map((half) => half.toString(16))).toEqual(cases.map(([, half]) => half.toString(16)));
  });

  it('flush a moment that has decayed to a denormal', () => {
    const decaying = Float32Array.from({ length: 5 }, () => 2 ** -126);
    const { results } = inMemory([decaying, decaying, decaying], 0, ([parameters, moment1]) => {
      new Float32Array(memory.buffer, 2 * ARRAY_BYTES, 5).fill(0);
      const gradient = 2 * ARRAY_BYTES;
      kernels.sgd({ parameters, gradient, moment1 }, 5, { learningRate: 1, momentum: 0.5, nesterov: false });
    });
    expect(Array.from(results[1] ?? [])).toEqual([0, 0, 0, 0, 0]);
    expect(Array.from(results[0] ?? [])).toEqual(Array.from(decaying));
  });

  it('leave the memory as it is when they are instantiated over it', () => {
    const shared = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const bytes = new Uint8Array(shared.buffer).fill(0xaa);
    instantiateKernels(shared);
    expect(bytes.every((byte) => byte === 0xaa)).toBe(true);
  });

  it('work at the very end of a memory of 4 GiB', () => {
    const pages = 65_536;
    const large = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const n = 6;
    const address = 2 ** 32 - n * ELEMENT_BYTES;
    const array = new Float32Array(large.buffer, address, n);
    array.set([1, 2, 3, 4, 5, 6]);
    const atItsEnd = instantiateKernels(large);
    const { add, allFinite } = atItsEnd;
    add(address, address, address, n);
    expect(Array.from(array)).toEqual([2, 4, 6, 8, 10, 12]);
    expect(allFinite(address, n)).toBe(true);
    expect(checksumOf(atItsEnd, 0, address, n * ELEMENT_BYTES)).toBe(
      checksum(new Uint8Array(Float32Array.from(array).buffer)),
    );
  });
});

describe('checksum', () => {
  const anyFrame = anyBytes(2, 600);

  it('changes with any one flipped bit', () => {
    fc.assert(
      fc.property(anyFrame, fc.nat(), fc.integer({ min: 0, max: 7 }), (bytes, at, bit) => {
        const flipped = bytes.slice();
        flipped[at % bytes.length] = (flipped[at % bytes.length] ?? 0) ^ (1 << bit);
        expect(checksum(flipped)).not.toBe(checksum(bytes));
      }),
    );
  });

  it('changes when the top bits of two words flip, wherever they are', () => {
    const bytes = Uint8Array.from({ length: 512 }, (_, i) => (i * 37) & 0xff);
    const flipped = (...words: number[]) => {
      const copy = bytes.slice();
      for (const word of words) copy[word * 4 + 3] = (copy[word * 4 + 3] ?? 0) ^ 0x80;
      return checksum(copy);
    };
    for (let first = 0; first < 127; first++) {
      for (let second = first + 1; second < 128; second++) expect(flipped(first, second)).not.toBe(checksum(bytes));
    }
  });

  it('changes when two different words trade places', () => {
    const words = Uint32Array.from({ length: 128 }, (_, i) => i);
    const digest = checksum(new Uint8Array(words.buffer));
    for (let first = 0; first < 127; first++) {
      for (let second = first + 1; second < 128; second++) {
        const swapped = words.slice();
        swapped[first] = second;
        swapped[second] = first;
        expect(checksum(new Uint8Array(swapped.buffer)), `${first} and ${second}`).not.toBe(digest);
      }
    }
  });

  it('changes when bytes are cut off, zeros too', () => {
    const digests = Array.from({ length: 300 }, (_, numBytes) => checksum(new Uint8Array(numBytes)));
    expect(new Set(digests).size).toBe(digests.length);
  });

  it('has the values that a program written in Python from its specification finds', () => {
    const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);
    expect([0, 5, 16, 128, 300].map((end) => checksum(bytes.subarray(0, end)))).toEqual([
      299591571, 1043822585, 508623533, 3451428783, 2135922191,
    ]);
  });
});
