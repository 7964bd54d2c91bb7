/** Adam in the processor's own instructions has the bits of the WebAssembly kernel, which has those of its plain twin. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { instantiateKernels, type AdamCoefficients } from '../../src/kernels/kernels.js';
import { SharedPages } from '../../worker/comm/shared-pages.js';
import { findSharedPages } from '../../worker/compute/engine/native-build.js';
import { anyArrays, anyShare } from '../support/kernel-inputs.js';

/** Where there is no engine there is none. */
const addon = findSharedPages();
const arrayBytes = 1024;

const rounded = (min: number, max: number): fc.Arbitrary<number> =>
  fc.double({ min, max, noNaN: true }).map(Math.fround);
const anyCoefficients: fc.Arbitrary<AdamCoefficients> = fc.record({
  ...{ beta1: anyShare, share1: anyShare, beta2: anyShare, share2: anyShare },
  ...{ stepSize: rounded(1e-6, 1), unbias2: rounded(1, 1000), epsilon: rounded(1e-8, 1e-3) },
  decay: fc.constantFrom(0, Math.fround(1e-5)),
});

describe.skipIf(addon === null)("Adam in the processor's own instructions", () => {
  const memories = [1, 2].map(() => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
  const [plain, accelerated] = memories.map((memory, index) => {
    const kernels = instantiateKernels(memory);
    const native = index === 1 ? SharedPages.load(addon ?? '') : null;
    return native?.accelerate(kernels, new Uint8Array(memory.buffer)) ?? kernels;
  });

  it('has the bits of the kernel, for any values, lengths and places', () => {
    fc.assert(
      fc.property(anyArrays, fc.nat(3), anyCoefficients, (arrays, shift, by) => {
        const addresses = arrays.map((_, index) => index * arrayBytes + shift * 4);
        const [parameters = 0, gradient = 0, moment1 = 0, moment2 = 0] = addresses;
        const [found, expected] = [accelerated, plain].map((kernels, index) => {
          const values = new Float32Array(memories[1 - index]?.buffer ?? new ArrayBuffer(0));
          values.fill(7.5);
          arrays.forEach((array, i) => {
            values.set(array, (addresses[i] ?? 0) / 4);
          });
          kernels?.adam({ parameters, gradient, moment1, moment2 }, arrays[0].length, by);
          // WebAssembly leaves a NaN's payload to the processor.
          return Array.from(values.subarray(0, 2048), (value) => (Number.isNaN(value) ? 'NaN' : value));
        });
        // Object.is tells -0 from 0.
        expect(found?.findIndex((value, i) => !Object.is(value, expected?.[i]))).toBe(-1);
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses elements outside of the memory', () => {
    const at = { parameters: 65_536 - 8, gradient: 0, moment1: 16, moment2: 32 };
    const [by] = fc.sample(anyCoefficients, 1);
    expect(by && (() => accelerated?.adam(at, 3, by))).toThrow(RangeError);
  });
});
