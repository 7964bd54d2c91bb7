// The kernels, in AssemblyScript (https://www.assemblyscript.org), compiled by scripts/build-kernels.mjs to ../binary.ts.
// Addresses are in bytes, counts in float32 elements. Only operations that IEEE 754 and WebAssembly define to the bit:
// no relaxed SIMD and no fused multiply-add, so that every processor gives the same result. Nothing here allocates or
// has static data: the memory is the caller's alone.

export { adam } from './adam';
export { average } from './average';
export { packBfloat16, roundBfloat16, unpackBfloat16 } from './bfloat16';
export { checksumBegin, checksumEnd, checksumUpdate } from './checksum';
export { add, allFinite, copy, scale } from './elementwise';
export { momentum, nesterov, sgd } from './sgd';
export { sumSquares } from './squares';
