/** The number formats of data files, and how their bytes become what a batch may hold: float32, int32 or uint8. */
import { endianness } from 'node:os';
import type { Column } from '../../src/job/dataset.js';

/** What a batch's column holds. */
export type Values = Column['data'];

/** Numbers as a file has them. */
export type FileValues =
  Float32Array | Float64Array | Uint8Array | Int8Array | Uint16Array | Int16Array | Int32Array | BigInt64Array;

/** A number format of a file. */
export interface Element {
  /** As messages name it. */
  readonly name: string;
  /** Bytes per number. */
  readonly bytes: 1 | 2 | 4 | 8;
  /** The file's numbers, in this machine's byte order. */
  readonly view: new (buffer: ArrayBuffer) => FileValues;
  /** What they become in a batch. */
  readonly values: ValuesConstructor;
}

export type ValuesConstructor = Float32ArrayConstructor | Int32ArrayConstructor | Uint8ArrayConstructor;

export const elements = {
  float32: { name: 'float32', bytes: 4, view: Float32Array, values: Float32Array },
  float64: { name: 'float64', bytes: 8, view: Float64Array, values: Float32Array },
  uint8: { name: 'uint8', bytes: 1, view: Uint8Array, values: Uint8Array },
  bool: { name: 'bool', bytes: 1, view: Uint8Array, values: Uint8Array },
  int8: { name: 'int8', bytes: 1, view: Int8Array, values: Int32Array },
  uint16: { name: 'uint16', bytes: 2, view: Uint16Array, values: Int32Array },
  int16: { name: 'int16', bytes: 2, view: Int16Array, values: Int32Array },
  int32: { name: 'int32', bytes: 4, view: Int32Array, values: Int32Array },
  int64: { name: 'int64', bytes: 8, view: BigInt64Array, values: Int32Array },
} as const satisfies Record<string, Element>;

/** Byte order of the numbers in a file. */
export type ByteOrder = 'LE' | 'BE' | 'native';

/** Bytes that are the whole of their ArrayBuffer, so that any typed array fits over them; those of `spare` if it is just that. */
export function allocate(numBytes: number, spare?: Values): Buffer<ArrayBuffer> {
  const buffer = spare?.buffer;
  const fits = buffer instanceof ArrayBuffer && buffer.byteLength === numBytes && spare?.byteLength === numBytes;
  return Buffer.from(fits ? buffer : new ArrayBuffer(numBytes));
}

/** The numbers in `bytes` (from `allocate`), which are swapped in place where their order is not this machine's. */
export function view(bytes: Buffer<ArrayBuffer>, element: Element, order: ByteOrder): FileValues {
  if (order !== 'native' && order !== endianness()) swap(bytes, element.bytes);
  return new element.view(bytes.buffer);
}

function swap(bytes: Buffer, elementBytes: Element['bytes']): void {
  if (elementBytes === 2) bytes.swap16();
  if (elementBytes === 4) bytes.swap32();
  if (elementBytes === 8) bytes.swap64();
}

/** The numbers as a batch holds them; the same memory where the format already fits. All must be usable. */
export function toValues(numbers: FileValues, element: Element): Values {
  if (numbers instanceof BigInt64Array) return Int32Array.from(numbers, Number);
  if (numbers instanceof element.values) return numbers;
  return element.values.from(numbers);
}

/** Position of the first number that a batch cannot hold, with what was expected there; undefined where all are usable. */
export function firstUnusable(
  numbers: FileValues,
): { readonly position: number; readonly expected: string } | undefined {
  if (numbers instanceof Float32Array || numbers instanceof Float64Array) {
    const position = firstNonFloat32(numbers);
    return position < 0 ? undefined : { position, expected: 'a finite number within the range of float32' };
  }
  if (numbers instanceof BigInt64Array) {
    const position = numbers.findIndex((number) => BigInt.asIntN(32, number) !== number);
    return position < 0 ? undefined : { position, expected: 'an integer within the range of int32' };
  }
  return undefined;
}

/** A loop, because `findIndex` takes eight times as long, and this sees every number of a file. */
function firstNonFloat32(numbers: Float32Array | Float64Array): number {
  for (let position = 0; position < numbers.length; position++) {
    if (!isFloat32(numbers[position] ?? 0)) return position;
  }
  return -1;
}

/** True for numbers that are finite, also once rounded to float32. */
export function isFloat32(number: number): boolean {
  return Number.isFinite(Math.fround(number));
}
