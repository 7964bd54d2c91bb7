/** Weights of other tools: one file or several, their types, and the comparison with the model before any is read. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { matchTensors } from '../../src/state/name-map.js';
import { WeightFiles } from '../../worker/checkpoint/weight-files.js';
import { float32, folderWith, halves, safetensors, weightIndex } from '../support/weight-files.js';

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

  const shards = {
    '1.safetensors': safetensors([float32('a', [1, 2])]),
    '2.safetensors': safetensors([float32('b', [3]), float32('c', [4])]),
  };

  test('in shards are read as one', async () => {
    const map = { a: '1.safetensors', b: '2.safetensors', c: '2.safetensors' };
    const folder = await folderWith({ ...shards, 'model.safetensors.index.json': weightIndex(map) });
    expect(await valuesOf(join(folder, 'model.safetensors.index.json'))).toEqual({ a: [1, 2], b: [3], c: [4] });
  });

  test.each([
    ['is not JSON', '{', 'is not a usable index'],
    ['has no map', '{}', 'weight_map'],
    ['leads out of its folder', weightIndex({ a: '../1.safetensors' }), 'expected the name of a file beside the index'],
    ['names a file that is not there', weightIndex({ a: '3.safetensors' }), '3.safetensors cannot be read: ENOENT'],
    [
      'names a tensor that its shard lacks, and not one that it has',
      weightIndex({ a: '1.safetensors', b: '2.safetensors', d: '2.safetensors' }),
      'it does not find d in 2.safetensors, and does not name c in 2.safetensors',
    ],
    [
      'names a hundred tensors that its shard lacks',
      weightIndex(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`a${i}`, '1.safetensors']))),
      'a4 in 1.safetensors, and 95 more, and does not name a in 1.safetensors. Copy',
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
