/** A job's first weights, from files with other names than the model's, and what is said where they do not fit. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { initialWeightsSchema } from '../../src/job/initial-weights.js';
import type { Job } from '../../src/job/job.js';
import type { ParameterShape } from '../../src/state/parameter.js';
import { InitialWeights } from '../../worker/initial-weights.js';
import { float32, folderWith, halves, safetensors, weightIndex } from '../support/weight-files.js';

const model: readonly ParameterShape[] = [
  { name: 'dense1/kernel', shape: [2, 2] },
  { name: 'dense1/bias', shape: [2] },
  { name: 'head/kernel', shape: [2, 3] },
];
const head = float32('head/kernel', [1, 2, 3, 4, 5, 6], [2, 3]);
const fitting = [float32('dense1/bias', [7, 8]), float32('dense1/kernel', [9, 10, 11, 12], [2, 2]), head];

type Given = NonNullable<Job['initialWeights']>;

/** What there is for each parameter that the file has. */
async function valuesOf(folder: string, given: Given): Promise<Record<string, number[]>> {
  const values: Record<string, number[]> = {};
  for await (const [{ name }, found] of new InitialWeights(given, folder).read(model)) values[name] = [...found];
  return values;
}

const check = async (folder: string, given: Given): Promise<string> => new InitialWeights(given, folder).check(model);

const values = { 'dense1/kernel': [9, 10, 11, 12], 'dense1/bias': [7, 8], 'head/kernel': [1, 2, 3, 4, 5, 6] };

describe('first weights', () => {
  it('are taken by name, in whatever order the file has them; moments of a checkpoint are left', async () => {
    const file = safetensors([...fitting, float32('optimizer/moment1/head/kernel', [1])]);
    const folder = await folderWith({ 'a.safetensors': file });
    expect(await valuesOf(folder, 'a.safetensors')).toEqual(values);
    expect(await check(folder, 'a.safetensors')).toBe(createHash('sha256').update(file).digest('hex'));
  });

  it('are the moving averages of a checkpoint that has them', async () => {
    const file = safetensors([
      ...fitting.slice(0, 2),
      float32('head/kernel', [0, 0, 0, 0, 0, 0], [2, 3]),
      { ...head, name: 'optimizer/average/head/kernel' },
    ]);
    const folder = await folderWith({ 'a.safetensors': file });
    expect(await valuesOf(folder, 'a.safetensors')).toEqual(values);
  });

  it('are taken from shards by their index, and all of them are in the digest', async () => {
    const index = weightIndex({ 'dense1/kernel': '1', 'dense1/bias': '1', 'head/kernel': '2' });
    const files = { 'i.json': index, '1': safetensors(fitting.slice(0, 2)), '2': safetensors([head]) };
    const folder = await folderWith(files);
    expect(await valuesOf(folder, 'i.json')).toEqual(values);
    const other = await folderWith({ ...files, '2': safetensors([{ ...head, bytes: head.bytes.toReversed() }]) });
    expect(await check(folder, 'i.json')).not.toBe(await check(other, 'i.json'));
  });

  it('are taken by a map of names with patterns', async () => {
    const file = safetensors([
      float32('layers.1.dense.bias', [7, 8]),
      { ...halves('layers.1.dense.kernel', 'BF16', [0x4110, 0x4120, 0x4130, 0x4140]), shape: [2, 2] }, // 9, 10, 11, 12
      float32('layers.1.mask', [1]),
      float32('out', [1, 2, 3, 4, 5, 6], [2, 3]),
    ]);
    const folder = await folderWith({ 'a.safetensors': file });
    const names = { 'layers.*.dense.*': 'dense*/*', '*.mask': null, out: 'head/kernel' };
    expect(await valuesOf(folder, { file: 'a.safetensors', names, own: [] })).toEqual(values);
  });

  it('leave parameters of its own to the model, whatever the file has', async () => {
    const otherHead = float32('head/kernel', [1, 2, 3, 4], [2, 2]);
    const folder = await folderWith({ 'a.safetensors': safetensors([...fitting.slice(0, 2), otherHead]) });
    const given = { file: 'a.safetensors', names: {}, own: ['head/*'] };
    expect(await valuesOf(folder, given)).toEqual({
      'dense1/kernel': values['dense1/kernel'],
      'dense1/bias': values['dense1/bias'],
    });
  });

  it('that do not fit are told all at once, before any is read', async () => {
    const folder = await folderWith({
      'a.safetensors': safetensors([float32('dense1/bias', [7]), float32('dense9/bias', [8]), head]),
    });
    const path = join(folder, 'a.safetensors');
    await expect(check(folder, 'a.safetensors')).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message:
        `The weights in ${path} do not fit the model: the file has no "dense1/kernel"; "dense1/bias" is [1] in the file and ` +
        '[2] in the model; the model has no place for "dense9/bias".',
    });
  });

  it('that are not there, or cut short, are named', async () => {
    const file = safetensors(fitting);
    const folder = await folderWith({ 'a.safetensors': file.subarray(0, -1) });
    await expect(check(folder, 'b.safetensors')).rejects.toMatchObject({ code: 'ERR_DATA_NOT_FOUND' });
    await expect(check(folder, 'a.safetensors')).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT_INVALID',
      message: expect.stringContaining(
        `it has ${file.length - 1} bytes, and its header describes ${file.length}`,
      ) as string,
    });
  });

  it('cannot have more stars in a parameter than in the name of the file', () => {
    expect(initialWeightsSchema.safeParse({ file: 'a', names: { 'x.*': '*/*' } }).success).toBe(false);
  });
});

it('PyTorch has written what is read', async () => {
  const path = new URL('../golden/mlp/initial.safetensors', import.meta.url).pathname;
  const digest = createHash('sha256').update(await readFile(path));
  const parameters = [784, 128, 128].flatMap((inputs, i) => {
    const outputs = i === 2 ? 10 : 128;
    return [
      { name: `dense${i + 1}/kernel`, shape: [inputs, outputs] },
      { name: `dense${i + 1}/bias`, shape: [outputs] },
    ];
  });
  expect(await new InitialWeights(path, '/').check(parameters)).toBe(digest.digest('hex'));
});
