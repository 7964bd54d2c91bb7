import { describe, expect, test } from 'vitest';
import { jsonLines } from '../../../worker/data/index.js';
import { dataFolder, float32, plain } from './folder.js';

describe('jsonLines', () => {
  test('reads numbers and nested arrays of two fields', async () => {
    const folder = await dataFolder();
    await folder.write('a.jsonl', '{"x": [[1, 2], [3, 4]], "y": 0}\n\n{"y": 1, "x": [[5, 6], [7, 8.5]]}\r\n');
    const data = await folder.open(jsonLines('a.jsonl', { x: 'x', y: 'y' }));
    expect(data.length).toBe(2);
    expect(plain(await data.read([1, 0]))).toEqual({
      x: float32([5, 6, 7, 8.5, 1, 2, 3, 4], [2, 2, 2]),
      y: float32([1, 0], [2, 1]),
    });
    expect(data.describe?.(1)).toBe('a.jsonl, line 3');
  });

  test('joins several fields to one array', async () => {
    const folder = await dataFolder();
    await folder.write('a.jsonl', '{"age": 30, "height": 2, "label": 1, "name": "x"}');
    const data = await folder.open(jsonLines('a.jsonl', { x: ['height', 'age'], y: 'label' }));
    expect(plain(await data.read([0]))).toEqual({ x: float32([2, 30], [1, 2]), y: float32([1], [1, 1]) });
  });

  test('refuses arrays without numbers when opened', async () => {
    const folder = await dataFolder();
    await folder.write('a.jsonl', '{"x": [[], []], "y": 0}');
    await expect(folder.open(jsonLines('a.jsonl', { x: 'x', y: 'y' }))).rejects.toThrow(
      'a.jsonl, line 1: field "x": found no numbers',
    );
  });

  test('takes U+2028 and characters across chunks for what they are', async () => {
    const folder = await dataFolder();
    const field = `\u2028${'é'.repeat(200_000)}`; // 400 kB, of two bytes each from an odd place on; chunks are 256 KiB
    await folder.write('a.jsonl', `{"${field}": 1, "y": 2}\n{"${field}": 3, "y": 4}`);
    const data = await folder.open(jsonLines('a.jsonl', { x: field, y: 'y' }));
    expect(plain(await data.read([0, 1])).x).toEqual(float32([1, 3], [2, 1]));
    expect(data.describe?.(1)).toBe('a.jsonl, line 2');
  });

  const good = '{"x": [1, 2], "y": 0}\n';
  test.each([
    ['text', '{"x": [1, "2"], "y": 0}', 'field "x": found "2", expected finite numbers of shape [2]'],
    ['null', '{"x": [1, null], "y": 0}', 'field "x": found null, expected finite numbers of shape [2]'],
    ['a number too large for float32', '{"x": [1, 1e39], "y": 0}', 'field "x": found 1e+39, expected finite'],
    [
      'another length',
      '{"x": [1, 2, 3], "y": 0}',
      'field "x": found an array of 3, expected finite numbers of shape [2]',
    ],
    [
      'another depth',
      '{"x": [[1], 2], "y": 0}',
      'field "x": found an array of 1, expected finite numbers of shape [2]',
    ],
    ['a number in place of an array', '{"x": 1, "y": 0}', 'field "x": found 1, expected finite numbers of shape [2]'],
    [
      'an array in place of a number',
      '{"x": [1, 2], "y": [0]}',
      'field "y": found an array of 1, expected a finite number',
    ],
    ['a missing field', '{"x": [1, 2], "z": 0}', 'found the fields "x", "z", expected a field "y"'],
    ['broken JSON', '{"x": [1, 2', 'the line is not valid JSON'],
    ['a line that is no object', '7', 'found 7, expected an object'],
  ])('refuses %s when opened', async (_, line, message) => {
    const folder = await dataFolder();
    await folder.write('a.jsonl', good + line);
    await expect(folder.open(jsonLines('a.jsonl', { x: 'x', y: 'y' }))).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringContaining(message) as string,
      details: { file: 'a.jsonl', line: 2 },
    });
  });
});
