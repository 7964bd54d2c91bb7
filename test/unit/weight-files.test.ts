/** Weights of other tools: one file or several, their types, and the comparison with the model before any is read. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { matchTensors } from '../../src/state/name-map.js';
import { WeightFiles } from '../../worker/checkpoint/weight-files.js';

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype?: string;
  readonly bytes: Uint8Array;
}

function safetensors(tensors: readonly Tensor[]): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, shape, dtype = 'F32', bytes }) => {
    end += bytes.length;
    return [name, { dtype, shape, data_offsets: [end - bytes.length, end] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([prefix, json, ...tensors.map(({ bytes }) => bytes)]);
}

const float32 = (name: string, values: readonly number[]): Tensor => {
  return { name, shape: [values.length], bytes: new Uint8Array(Float32Array.from(values).buffer) };
};
const halves = (name: string, dtype: string, bits: readonly number[]): Tensor => {
  return { name, dtype, shape: [bits.length], bytes: new Uint8Array(Uint16Array.from(bits).buffer) };
};

async function folderWith(files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-weights-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

async function valuesOf(path: string): Promise<Record<string, number[]>> {
  await using files = await WeightFiles.open(path);
  const values: Record<string, number[]> = {};
  for (const tensor of files.tensors) values[tensor.name] = [...(await files.read(tensor))];
  return values;
}

describe('weight files', () => {
  test('of half precision become float32 exactly', async () => {
    const bfloat16 = halves('b', 'BF16', [0x3f80, 0xc049, 0x0001, 0xff80]);
    const float16 = halves('h', 'F16', [0x3c00, 0xc248, 0x7bff, 0x0001, 0x83ff, 0x8000, 0x7c00]);
    const folder = await folderWith({ 'a.safetensors': safetensors([float32('f', [0.1, -2]), bfloat16, float16]) });
    expect(await valuesOf(join(folder, 'a.safetensors'))).toEqual({
      f: [Math.fround(0.1), -2],
      b: [1, -3.140625, 2 ** -133, -Infinity], // https://en.wikipedia.org/wiki/Bfloat16_floating-point_format
      h: [1, -3.140625, 65_504, 2 ** -24, -1023 * 2 ** -24, -0, Infinity], // IEEE 754-2008, table 3.5
    });
  });

  const index = (weight_map: Readonly<Record<string, string>>): string => JSON.stringify({ metadata: {}, weight_map });
  const shards = {
    '1.safetensors': safetensors([float32('a', [1, 2])]),
    '2.safetensors': safetensors([float32('b', [3]), float32('c', [4])]),
  };

  test('in shards are read as one', async () => {
    const map = { a: '1.safetensors', b: '2.safetensors', c: '2.safetensors' };
    const folder = await folderWith({ ...shards, 'model.safetensors.index.json': index(map) });
    expect(await valuesOf(join(folder, 'model.safetensors.index.json'))).toEqual({ a: [1, 2], b: [3], c: [4] });
  });

  test.each([
    ['is not JSON', '{', 'is not a usable index'],
    ['has no map', '{}', 'weight_map'],
    ['leads out of its folder', index({ a: '../1.safetensors' }), 'expected the name of a file beside the index'],
    ['names a file that is not there', index({ a: '3.safetensors' }), '3.safetensors cannot be read: ENOENT'],
    [
      'names a tensor that its shard lacks, and not one that it has',
      index({ a: '1.safetensors', b: '2.safetensors', d: '2.safetensors' }),
      'it does not find d in 2.safetensors, and does not name c in 2.safetensors',
    ],
  ])('with an index that %s are refused', async (_, content, message) => {
    const folder = await folderWith({ ...shards, 'i.json': content });
    await expect(WeightFiles.open(join(folder, 'i.json'))).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT_INVALID',
      message: expect.stringContaining(message) as string,
    });
  });
});

describe('the tensors of a file', () => {
  const stored = (name: string, shape: readonly number[], dtype: 'F32' | 'I64' = 'F32') => ({ name, shape, dtype });
  const match = (tensors: readonly ReturnType<typeof stored>[]) =>
    matchTensors(
      tensors,
      [
        { name: 'kernel', shape: [2, 3] },
        { name: 'bias', shape: [3] },
      ],
      { nameOf: (name) => (name === 'mask' ? null : name.replace('dense.', '')), source: 'x.safetensors' },
    );

  test('are found by the name map, in the order of the parameters', () => {
    const tensors = [stored('mask', [9]), stored('dense.bias', [3]), stored('dense.kernel', [2, 3])];
    expect(match(tensors).map(({ name }) => name)).toEqual(['dense.kernel', 'dense.bias']);
  });

  test('that do not fit are listed all at once', () => {
    const tensors = [
      stored('dense.kernel', [3, 2]),
      stored('kernel', [2, 3]),
      stored('dense.scale', [3]),
      stored('dense.shift', [3]),
    ];
    expect(() => match(tensors)).toThrow(
      'The weights in x.safetensors do not fit the model: "dense.kernel" and "kernel" of the file are both "kernel"; ' +
        '"dense.kernel" is [3, 2] in the file and [2, 3] in the model; the file has no "bias"; ' +
        'the model has no place for "dense.scale"; the model has no place for "dense.shift".',
    );
  });

  test('are refused where float32 cannot hold them', () => {
    expect(() => match([stored('kernel', [2, 3]), stored('bias', [3], 'I64')])).toThrow('"bias" is I64, expected F32');
  });
});
