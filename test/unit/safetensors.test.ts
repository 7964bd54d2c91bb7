import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHeader, parseHeader, parsePrefix, PREFIX_BYTES } from '../../src/state/safetensors.js';

const golden = new URL('../golden/mlp/initial.safetensors', import.meta.url);

/** A file with this JSON and `dataBytes` bytes of tensors, parsed. */
function parse(json: string | Uint8Array, dataBytes = 0) {
  const bytes = typeof json === 'string' ? new TextEncoder().encode(json) : json;
  return parseHeader(bytes, PREFIX_BYTES + bytes.length + dataBytes, 'x.safetensors');
}

const invalid = (message: string): unknown =>
  expect.objectContaining({ code: 'ERR_CHECKPOINT_INVALID', message: expect.stringContaining(message) as string });

const tensor = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('a safetensors header', () => {
  it('is read as PyTorch wrote it', async () => {
    const file = await readFile(golden);
    const jsonBytes = parsePrefix(file.subarray(0, PREFIX_BYTES), file.length, 'initial');
    const { tensors, metadata } = parseHeader(
      file.subarray(PREFIX_BYTES, PREFIX_BYTES + jsonBytes),
      file.length,
      'initial',
    );
    const start = PREFIX_BYTES + jsonBytes;
    expect(metadata).toEqual({});
    expect(tensors.slice(0, 2)).toEqual([
      { name: 'dense1/bias', dtype: 'F32', shape: [128], start, numBytes: 512 },
      { name: 'dense1/kernel', dtype: 'F32', shape: [784, 128], start: start + 512, numBytes: 401_408 },
    ]);
    expect(tensors).toHaveLength(6);
  });

  it('is the same after writing and reading, for any names, shapes and metadata', () => {
    const anyTensors = fc.uniqueArray(
      fc.record({
        name: fc.string({ unit: 'grapheme' }),
        shape: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 4 }),
      }),
      { selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(anyTensors, fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string()), (tensors, metadata) => {
        fc.pre(tensors.every(({ name }) => name !== '__metadata__' && name !== '__proto__'));
        fc.pre(!Object.hasOwn(metadata, '__proto__'));
        const header = encodeHeader(tensors, metadata);
        expect(header.length % 8).toBe(0);
        const dataBytes = tensors.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
        const fileBytes = header.length + dataBytes;
        expect(parsePrefix(header.subarray(0, PREFIX_BYTES), fileBytes, 'x')).toBe(header.length - PREFIX_BYTES);
        const parsed = parseHeader(header.subarray(PREFIX_BYTES), fileBytes, 'x');
        expect(parsed.metadata).toEqual({ ...metadata });
        const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
        expect(parsed.tensors.map(({ name, shape }) => ({ name, shape })).sort(byName)).toEqual(
          [...tensors].sort(byName),
        );
        if (tensors.length > 0) expect(parsed.tensors[0]?.start).toBe(header.length);
      }),
    );
  });

  it('refuses two tensors of one name when writing', () => {
    const twice = [
      { name: 'a', shape: [1] },
      { name: 'a', shape: [2] },
    ];
    expect(() => encodeHeader(twice, {})).toThrow(expect.objectContaining({ code: 'ERR_CHECKPOINT_WRITE' }));
    expect(() => encodeHeader([{ name: '__metadata__', shape: [1] }], {})).toThrow('Two tensors have the name');
  });

  it('refuses a file that is cut off, in its length, its header or its tensors', () => {
    expect(() => parsePrefix(new Uint8Array(5), 5, 'x.safetensors')).toThrow(invalid('it has 5 bytes'));
    expect(() => parsePrefix(Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0), 16, 'x.safetensors')).toThrow(
      invalid('it is cut off: it has 16 bytes, and its header alone 9'),
    );
    const json = JSON.stringify({ a: tensor(0, 8) });
    expect(() => parse(json, 7)).toThrow(
      invalid(`it has ${json.length + 15} bytes, and its header describes ${json.length + 16}`),
    );
    expect(() => parse(json, 9)).toThrow(invalid(`it has ${json.length + 17} bytes`));
    expect(parse(json, 8).tensors).toHaveLength(1);
  });

  it('refuses a header of over 100 MB before it is read', () => {
    const prefix = new Uint8Array(8);
    new DataView(prefix.buffer).setBigUint64(0, 100_000_001n, true);
    expect(() => parsePrefix(prefix, 2 ** 40, 'x.safetensors')).toThrow(invalid('would have 100000001 bytes'));
    new DataView(prefix.buffer).setBigUint64(0, 2n ** 64n - 1n, true);
    expect(() => parsePrefix(prefix, 2 ** 40, 'x.safetensors')).toThrow(
      invalid('would have 18446744073709551615 bytes'),
    );
    new DataView(prefix.buffer).setBigUint64(0, 100_000_000n, true);
    expect(parsePrefix(prefix, 2 ** 40, 'x.safetensors')).toBe(100_000_000);
  });

  it.each([
    { fault: 'tensors that overlap', header: { a: tensor(0, 8), b: tensor(4, 12) }, says: 'tensor "b" overlaps' },
    { fault: 'one tensor inside another', header: { a: tensor(0, 12), b: tensor(4, 8) }, says: 'tensor "b" overlaps' },
    { fault: 'a gap', header: { a: tensor(0, 4), b: tensor(8, 12) }, says: 'tensor "b" leaves a gap' },
    { fault: 'a first tensor that does not begin at 0', header: { a: tensor(4, 12) }, says: 'expected 0' },
    { fault: 'a size against the shape', header: { a: tensor(0, 12, [2]) }, says: 'which are 12, expected 8' },
    {
      fault: 'a shape too large for a number',
      header: { a: tensor(0, 12, [2 ** 50, 2 ** 50]) },
      says: 'which are 12, expected',
    },
    { fault: 'an unknown type', header: { a: tensor(0, 12, [3], 'F33') }, says: 'dtype' },
    { fault: 'a negative extent', header: { a: tensor(0, 12, [-3]) }, says: 'shape' },
    { fault: 'a fraction of a byte', header: { a: tensor(0.5, 12, [3]) }, says: 'data_offsets' },
    {
      fault: 'metadata that is no string',
      header: { a: tensor(0, 12), __metadata__: { b: 1 } },
      says: 'not as expected',
    },
    { fault: 'a list', header: [], says: 'not as expected' },
  ])('refuses $fault', ({ header, says }) => {
    expect(() => parse(JSON.stringify(header), 12)).toThrow(invalid(says));
  });

  it('refuses a header that is not JSON, or not UTF-8', () => {
    expect(() => parse('{"a":')).toThrow(invalid('not JSON in UTF-8'));
    expect(() => parse(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d))).toThrow(invalid('not JSON in UTF-8'));
  });

  it('accepts types that Lockstep does not load, with their sizes', () => {
    const header = { a: tensor(0, 6, [3], 'BF16'), b: tensor(6, 14, [1], 'I64') };
    expect(parse(JSON.stringify(header), 14).tensors.map(({ dtype, numBytes }) => [dtype, numBytes])).toEqual([
      ['BF16', 6],
      ['I64', 8],
    ]);
  });
});
