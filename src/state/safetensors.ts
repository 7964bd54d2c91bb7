/**
 * The header of a safetensors file (https://github.com/huggingface/safetensors#format): 8 bytes with the length of the
 * JSON that follows, little-endian; JSON that gives each tensor's type, shape and bytes; then the tensors' bytes, without
 * gaps. Works on bytes alone, so that tensors can stream between file and memory. As strict about places and sizes as the
 * reference implementation.
 */
import { z } from 'zod';
import { LockstepError } from '../errors.js';
import { sizeOf } from './parameter.js';

/** Bytes before the JSON. */
export const PREFIX_BYTES = 8;

/** Most bytes of JSON, as in the reference. */
const MAX_JSON_BYTES = 100_000_000;

const METADATA_KEY = '__metadata__';

/** Bytes of one element. Lockstep itself writes and loads F32. */
const bytesPerElement = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1 },
  ...{ U16: 2, I16: 2, F16: 2, BF16: 2 },
  ...{ U32: 4, I32: 4, F32: 4 },
  ...{ U64: 8, I64: 8, F64: 8, C64: 8 },
} as const;

type Dtype = keyof typeof bytesPerElement;

/** A tensor of a file. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Its first byte, from the beginning of the file. */
  readonly start: number;
  readonly numBytes: number;
}

export interface SafetensorsHeader {
  /** In the order of their bytes. */
  readonly tensors: readonly StoredTensor[];
  /** `__metadata__`: whatever the writer wanted to say. */
  readonly metadata: Readonly<Record<string, string>>;
}

const headerSchema = z.record(
  z.string(),
  z.object({
    dtype: z.literal(Object.keys(bytesPerElement) as Dtype[]), // Object.keys forgets its argument's keys
    shape: z.array(z.int().min(0)),
    data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
  }),
);

const metadataSchema = z.record(z.string(), z.string());

/**
 * Length prefix and JSON for float32 tensors whose bytes follow in the order given, padded with spaces so that they start
 * on an 8-byte boundary.
 *
 * @throws LockstepError ERR_CHECKPOINT_WRITE if two tensors have one name, or the JSON is over 100 MB
 */
export function encodeHeader(
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const entries: [string, unknown][] = [[METADATA_KEY, metadata]];
  const names = new Set<string>([METADATA_KEY]);
  let end = 0;
  for (const { name, shape } of tensors) {
    if (names.has(name)) throw new LockstepError('ERR_CHECKPOINT_WRITE', `Two tensors have the name "${name}".`);
    names.add(name);
    const begin = end;
    end += sizeOf(shape) * bytesPerElement.F32;
    entries.push([name, { dtype: 'F32', shape, data_offsets: [begin, end] }]);
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const jsonBytes = Math.ceil(json.length / 8) * 8;
  if (jsonBytes > MAX_JSON_BYTES) {
    const message = `The header of ${tensors.length} tensors has ${jsonBytes} bytes; safetensors allows ${MAX_JSON_BYTES}.`;
    throw new LockstepError('ERR_CHECKPOINT_WRITE', message);
  }
  const header = new Uint8Array(PREFIX_BYTES + jsonBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(jsonBytes), true);
  header.set(json, PREFIX_BYTES);
  return header;
}

/**
 * Bytes of JSON, from a file's first 8 bytes.
 *
 * @param source the file's name, for messages
 * @throws LockstepError ERR_CHECKPOINT_INVALID if the file is shorter than that, or the JSON is over 100 MB
 */
export function parsePrefix(prefix: Uint8Array, fileBytes: number, source: string): number {
  if (prefix.length < PREFIX_BYTES) {
    throw invalid(source, `it has ${prefix.length} bytes, and the length of the header alone takes ${PREFIX_BYTES}`);
  }
  const jsonBytes = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (jsonBytes > MAX_JSON_BYTES) {
    throw invalid(source, `its header would have ${jsonBytes.toString()} bytes; at most ${MAX_JSON_BYTES} are allowed`);
  }
  if (PREFIX_BYTES + Number(jsonBytes) > fileBytes) {
    throw invalid(source, `it is cut off: it has ${fileBytes} bytes, and its header alone ${jsonBytes.toString()}`);
  }
  return Number(jsonBytes);
}

/**
 * What the JSON says, checked: known types, sizes that agree with the shapes, and tensors that fill the rest of the file
 * exactly, without gap or overlap.
 *
 * @param source the file's name, for messages
 * @throws LockstepError ERR_CHECKPOINT_INVALID
 */
export function parseHeader(json: Uint8Array, fileBytes: number, source: string): SafetensorsHeader {
  const { [METADATA_KEY]: metadata = {}, ...entries } = parseJson(json, source);
  const strings = validate(metadataSchema, metadata, source);
  const dataStart = PREFIX_BYTES + json.length;
  const tensors = Object.entries(validate(headerSchema, entries, source))
    .map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => ({ name, dtype, shape, begin, end }),
    )
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const tensor of tensors) {
    checkPlace(tensor, end, source);
    end = tensor.end;
  }
  if (dataStart + end !== fileBytes) {
    throw invalid(source, `it has ${fileBytes} bytes, and its header describes ${dataStart + end}`);
  }
  return {
    tensors: tensors.map(({ name, dtype, shape, begin, end }) => ({
      ...{ name, dtype, shape },
      ...{ start: dataStart + begin, numBytes: end - begin },
    })),
    metadata: strings,
  };
}

interface Entry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function checkPlace({ name, dtype, shape, begin, end }: Entry, expectedBegin: number, source: string): void {
  if (begin !== expectedBegin) {
    const fault = begin < expectedBegin ? 'overlaps the tensor before it' : 'leaves a gap after the tensor before it';
    throw invalid(source, `tensor "${name}" ${fault}: it begins at byte ${begin}, expected ${expectedBegin}`);
  }
  const numBytes = sizeOf(shape) * bytesPerElement[dtype];
  if (end - begin !== numBytes) {
    const found = `bytes ${begin} to ${end}, which are ${end - begin}`;
    throw invalid(source, `tensor "${name}" of ${dtype} [${shape.join(', ')}] has ${found}, expected ${numBytes}`);
  }
}

function parseJson(json: Uint8Array, source: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json));
  } catch (cause) {
    throw invalid(source, 'its header is not JSON in UTF-8', cause);
  }
  return validate(z.record(z.string(), z.unknown()), value, source);
}

function validate<T>(schema: z.ZodType<T>, value: unknown, source: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(source, `its header is not as expected: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`);
}

function invalid(source: string, fault: string, cause?: unknown): LockstepError {
  const message = `${source} is not a whole safetensors file: ${fault}. Use another checkpoint, or copy the file again.`;
  return new LockstepError('ERR_CHECKPOINT_INVALID', message, { cause, details: { source, fault } });
}
