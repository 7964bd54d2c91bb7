/**
 * The arithmetic over flat state: WebAssembly SIMD functions that work in place on a segment's shared memory. Every one
 * has the same bits on every machine (see docs/decisions/0002-kernels-in-assemblyscript.md), and a plain twin in
 * reference.ts.
 */
import { kernelsBase64 } from './binary.js';

/**
 * Coefficients of one step of Adam. Each is rounded to float32 once, from the float64 expression that its comment gives;
 * `t` counts steps from 1.
 */
export interface AdamCoefficients {
  readonly beta1: number;
  /** `1 - beta1`, not of the rounded beta1: in float32, 1 - 0.999 is off by 1e-5. */
  readonly share1: number;
  readonly beta2: number;
  /** `1 - beta2` */
  readonly share2: number;
  /** `learningRate / (1 - beta1^t)` */
  readonly stepSize: number;
  /** `1 / (1 - beta2^t)` */
  readonly unbias2: number;
  readonly epsilon: number;
  /** `learningRate * weightDecay`; 0 makes AdamW Adam. */
  readonly decay: number;
}

/** Byte addresses of what Adam reads and writes. */
export interface AdamAddresses {
  readonly parameters: number;
  readonly gradient: number;
  readonly moment1: number;
  readonly moment2: number;
}

export interface SgdCoefficients {
  readonly learningRate: number;
  readonly momentum: number;
  readonly nesterov: boolean;
}

/** Byte addresses of what gradient descent reads and writes. */
export interface SgdAddresses {
  readonly parameters: number;
  readonly gradient: number;
  /** The velocity; `undefined` when momentum is 0, which needs none. */
  readonly moment1: number | undefined;
}

/** Addresses are in bytes, `n` in float32 elements. Nothing is checked but the memory's own bounds. */
export interface Kernels {
  /** `dst = a + b`. `dst` may be `a` or `b`, and must not overlap them otherwise. */
  readonly add: (dst: number, a: number, b: number, n: number) => void;
  /** Copies bytes, which may overlap. A typed array's `set` copies shared memory word by word at best. */
  readonly copy: (dst: number, src: number, numBytes: number) => void;
  /** `dst = a * factor`, with `factor` rounded to float32. `dst` may be `a`. */
  readonly scale: (dst: number, a: number, factor: number, n: number) => void;
  /**
   * One step of Adam (Kingma and Ba, 2015) or AdamW (Loshchilov and Hutter, 2019), in place:
   * `m = m * beta1 + g * share1`, `v = v * beta2 + (g * g) * share2`,
   * `p = p - (m * stepSize / (sqrt(v * unbias2) + epsilon) + p * decay)`. Denormal moments become zero, as below.
   */
  readonly adam: (addresses: AdamAddresses, n: number, coefficients: AdamCoefficients) => void;
  /**
   * One step of gradient descent, in place: `p = p - g * learningRate`; with momentum
   * `v = v * momentum - g * learningRate`, `p = p + v`, or Nesterov's `p = p + (v * momentum - g * learningRate)`.
   * Denormal velocities become zero.
   */
  readonly sgd: (addresses: SgdAddresses, n: number, coefficients: SgdCoefficients) => void;
  /**
   * An exponential moving average, in place: `e = e * decay + p * share`, with `share` rounded from `1 - decay`. Denormals become
   * zero.
   */
  readonly average: (e: number, p: number, n: number, decay: number) => void;
  /**
   * Adds the squares of `n` elements to eight float64 sums at `sums`, that of element i to sum i % 8. `n` is a multiple of 8: a
   * range has the sums of its parts, one after the other.
   */
  readonly sumSquares: (sums: number, address: number, n: number) => void;
  /**
   * The digest that checksum.ts specifies, of bytes that come in pieces: `checksumBegin` once, `checksumUpdate` with pieces
   * whose lengths are multiples of 128 bytes, and `checksumEnd`. What is between lies at `state`, `checksumStateBytes` long.
   */
  readonly checksumBegin: (state: number) => void;
  readonly checksumUpdate: (state: number, address: number, numBytes: number) => void;
  /**
   * The unsigned 32-bit digest of `totalBytes`, of which the last `totalBytes % 128` lie at `address` and were not in a
   * piece. It leaves `state` as it is.
   */
  readonly checksumEnd: (state: number, address: number, totalBytes: number) => number;
  /** Rounds to what bfloat16 can hold, in place: to the nearest, ties to even. A NaN stays one, and is quiet. */
  readonly roundBfloat16: (address: number, n: number) => void;
  /** `dst`, `n` bfloat16 elements, is `src`, rounded as above. `dst` may be `src`, and must not overlap it otherwise. */
  readonly packBfloat16: (dst: number, src: number, n: number) => void;
  /** `dst`, `n` float32 elements, is the bfloat16 at `src`. They must not overlap. */
  readonly unpackBfloat16: (dst: number, src: number, n: number) => void;
  /** Whether no element is an infinity or NaN. */
  readonly allFinite: (address: number, n: number) => boolean;
}

/** What the module exports, as its AssemblyScript source declares it. */
interface Exports {
  readonly add: (dst: number, a: number, b: number, n: number) => void;
  readonly copy: (dst: number, src: number, numBytes: number) => void;
  readonly scale: (dst: number, a: number, factor: number, n: number) => void;
  readonly adam: (...addressesCountAndCoefficients: number[]) => void;
  readonly sgd: (p: number, g: number, n: number, learningRate: number) => void;
  readonly momentum: (p: number, g: number, v: number, n: number, learningRate: number, momentum: number) => void;
  readonly nesterov: (p: number, g: number, v: number, n: number, learningRate: number, momentum: number) => void;
  readonly average: (e: number, p: number, n: number, decay: number, share: number) => void;
  readonly sumSquares: (sums: number, address: number, n: number) => void;
  readonly checksumBegin: (state: number) => void;
  readonly checksumUpdate: (state: number, address: number, numBytes: number) => void;
  readonly checksumEnd: (state: number, address: number, totalBytes: number) => number;
  readonly roundBfloat16: (address: number, n: number) => void;
  readonly packBfloat16: (dst: number, src: number, n: number) => void;
  readonly unpackBfloat16: (dst: number, src: number, n: number) => void;
  readonly allFinite: (address: number, n: number) => number;
}

/** Sums of `sumSquares`, 8 bytes each. */
export const numSquareSums = 8;

/** Length of a checksum's state, in bytes. */
export const checksumStateBytes = 128;

/** Compiled once per thread; an instance per memory is then cheap. */
let compiled: WebAssembly.Module | undefined;

/** The kernels over `memory`. Writes nothing to it, so any number of threads may do this at any time. */
export function instantiateKernels(memory: WebAssembly.Memory): Kernels {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(kernelsBase64), (character) => character.charCodeAt(0)));
  const instance = new WebAssembly.Instance(compiled, { env: { memory } });
  // The module and this interface are built from one source tree, and a test calls every function.
  const wasm = instance.exports as unknown as Exports;
  return {
    add: wasm.add,
    copy: wasm.copy,
    scale: wasm.scale,
    adam: (at, n, by) => {
      wasm.adam(
        ...[at.parameters, at.gradient, at.moment1, at.moment2, n],
        ...[by.beta1, by.share1, by.beta2, by.share2, by.stepSize, by.unbias2, by.epsilon, by.decay],
      );
    },
    sgd: ({ parameters, gradient, moment1 }, n, { learningRate, momentum, nesterov }) => {
      if (moment1 === undefined) wasm.sgd(parameters, gradient, n, learningRate);
      else if (nesterov) wasm.nesterov(parameters, gradient, moment1, n, learningRate, momentum);
      else wasm.momentum(parameters, gradient, moment1, n, learningRate, momentum);
    },
    average: (e, p, n, decay) => {
      wasm.average(e, p, n, decay, 1 - decay);
    },
    sumSquares: wasm.sumSquares,
    checksumBegin: wasm.checksumBegin,
    checksumUpdate: wasm.checksumUpdate,
    checksumEnd: (state, address, totalBytes) => wasm.checksumEnd(state, address, totalBytes) >>> 0,
    roundBfloat16: wasm.roundBfloat16,
    packBfloat16: wasm.packBfloat16,
    unpackBfloat16: wasm.unpackBfloat16,
    allFinite: (address, n) => wasm.allFinite(address, n) === 1,
  };
}

/** The digest of bytes that are all there; `state` as for `checksumBegin`. */
export function checksumOf(kernels: Kernels, state: number, address: number, numBytes: number): number {
  const inBlocks = numBytes - (numBytes % checksumStateBytes);
  kernels.checksumBegin(state);
  kernels.checksumUpdate(state, address, inBlocks);
  return kernels.checksumEnd(state, address + inBlocks, numBytes);
}
