import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { text } from '../../../worker/data/index.js';
import { openTokenizer } from '../../../worker/data/tokenizer.js';
import { dataFolder, plain, type DataFolder } from './folder.js';

const golden = new URL('../../golden/tokenizer/', import.meta.url);
const tokenizerJson = readFileSync(new URL('tokenizer.json', golden), 'utf8');
const expected = z
  .object({
    cases: z.array(z.object({ text: z.string(), ids: z.array(z.int()) })),
    repeated: z.object({ times: z.int(), tokens: z.int(), sha256: z.string() }),
  })
  .parse(JSON.parse(readFileSync(new URL('expected.json', golden), 'utf8')));

const int32 = (data: number[], shape: number[]) => ({ type: 'Int32Array', data, shape });

/** All tokens of a file, in rows of one: what each predicts, and the first. */
async function tokensOf(folder: DataFolder, name: string, field?: string): Promise<number[]> {
  const options = { tokenizer: 'tokenizer.json', blockTokens: 1, ...(field !== undefined && { field }) };
  const data = await folder.open(text(name, options));
  const { x, y } = await data.read(Array.from({ length: data.length }, (_, row) => row));
  return [...x.data.slice(0, 1), ...y.data];
}

describe('text', () => {
  test('is packed into rows, each with the token that follows each of its own', async () => {
    const folder = await dataFolder();
    await folder.write('a.txt', 'abcdefghij');
    const data = await folder.open(text('a.txt', { tokenizer: 'bytes', blockTokens: 3 }));
    expect(data.length).toBe(3); // "j" is only predicted
    expect(plain(await data.read([2, 0]))).toEqual({
      x: int32([103, 104, 105, 97, 98, 99], [2, 3]),
      y: int32([104, 105, 106, 98, 99, 100], [2, 3]),
    });
    expect(data.describe?.(2)).toBe('a.txt, block 3');
  });

  test('may be one line of any length, with characters that lie on both sides of what is read at once', async () => {
    const folder = await dataFolder();
    const content = 'wörter und 字, '.repeat(200_000);
    await folder.write('a.txt', content);
    const data = await folder.open(text('a.txt', { tokenizer: 'bytes', blockTokens: 100 }));
    const { x } = await data.read(Array.from({ length: data.length }, (_, row) => row));
    const bytes = Buffer.from(content).subarray(0, x.data.length);
    expect(Buffer.compare(Uint8Array.from(x.data), bytes)).toBe(0);
  });

  test('loses no token where blocks fill the buffer', async () => {
    const folder = await dataFolder();
    const bytes = Uint8Array.from({ length: 300_001 }, (_, at) => 97 + ((at * 7) % 26));
    await folder.write('a.txt', bytes);
    const data = await folder.open(text('a.txt', { tokenizer: 'bytes', blockTokens: 1000 }));
    expect(data.length).toBe(300);
    const { x, y } = await data.read(Array.from({ length: 300 }, (_, row) => row));
    expect(Buffer.compare(Uint8Array.from(x.data), bytes.subarray(0, -1))).toBe(0);
    expect(Buffer.compare(Uint8Array.from(y.data), bytes.subarray(1))).toBe(0);
  });

  test.each(expected.cases.filter(({ ids }) => ids.length > 1))(
    'has the tokens of tokenizers for Python: $text',
    async ({ text: content, ids }) => {
      const folder = await dataFolder();
      await folder.write('tokenizer.json', tokenizerJson);
      await folder.write('a.txt', content);
      expect(await tokensOf(folder, 'a.txt')).toEqual(ids);
    },
  );

  test('has the same tokens in pieces as whole', async () => {
    const folder = await dataFolder();
    const { times, tokens, sha256 } = expected.repeated;
    await folder.write('tokenizer.json', tokenizerJson);
    await folder.write(
      'a.txt',
      expected.cases
        .map((one) => one.text)
        .join('')
        .repeat(times),
    );
    const found = Int32Array.from(await tokensOf(folder, 'a.txt'));
    expect(found.length).toBe(tokens);
    expect(createHash('sha256').update(found).digest('hex')).toBe(sha256);
  });

  test('of JSON lines has the end of text after each', async () => {
    const folder = await dataFolder();
    await folder.write('tokenizer.json', tokenizerJson);
    const [first, second] = expected.cases;
    const lines = [first, second].map((one) => JSON.stringify({ id: 1, body: one?.text }));
    await folder.write('a.jsonl', lines.join('\n\n'));
    expect(await tokensOf(folder, 'a.jsonl', 'body')).toEqual([...(first?.ids ?? []), 0, ...(second?.ids ?? []), 0]);
  });

  test('is made into tokens once', async () => {
    const folder = await dataFolder();
    await folder.write('a.txt', 'abcdefghij');
    const open = async (blockTokens: number) => folder.open(text('a.txt', { tokenizer: 'bytes', blockTokens }));
    const [first, again, other] = [await open(3), await open(3), await open(4)];
    expect(await readdir(folder.cacheDir)).toHaveLength(2);
    expect(await again.fingerprint?.()).toBe(await first.fingerprint?.());
    expect(await other.fingerprint?.()).not.toBe(await first.fingerprint?.());
  });

  test('that is not UTF-8 is named by its line', async () => {
    const folder = await dataFolder();
    await folder.write('a.txt', Buffer.from('fine\ncaf\xe9\n', 'latin1'));
    const opened = folder.open(text('a.txt', { tokenizer: 'bytes', blockTokens: 2 }));
    await expect(opened).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: 'a.txt, line 2: the line is not UTF-8. Convert the file to UTF-8.',
    });
  });

  test.each([
    ['is shorter than a block', 'abc', undefined, 'a.txt: found 3 tokens, expected at least 4 for one block of 3.'],
    ['has a line that is no JSON', '{"t": "ab"}\n{', 't', 'a.txt, line 2: the line is not valid JSON'],
    [
      'has a line without the field',
      '{"u": 1}',
      't',
      'a.txt, line 1: expected an object with a text in the field "t".',
    ],
  ])('that %s is refused', async (_, content, field, message) => {
    const folder = await dataFolder();
    await folder.write('a.txt', content);
    const options = { tokenizer: 'bytes', blockTokens: 3, ...(field !== undefined && { field }) };
    await expect(folder.open(text('a.txt', options))).rejects.toThrow(message);
  });
});

describe('tokens', () => {
  test('are read back to the text, but for a character that is not whole', async () => {
    const { encode, decode } = await (await openTokenizer(fileURLToPath(golden), { baseDir: '/' })).codec();
    for (const { text: content, ids } of expected.cases) expect(decode(ids)).toBe(content);
    const euro = Array.from(encode('a\u20ac'));
    expect(euro.length).toBe(4); // three bytes that the tokenizer has not merged
    expect(decode(euro.slice(0, -1))).toBe('a\ufffd');
  });

  test('that are bytes are read back', async () => {
    const { encode, decode } = await (await openTokenizer('bytes', { baseDir: '/' })).codec();
    expect(decode(Array.from(encode('\ufeffcaf\u00e9\n')))).toBe('\ufeffcaf\u00e9\n');
    expect(decode([])).toBe('');
  });
});

describe('a tokenizer that', () => {
  const changed = (change: (json: Record<string, unknown>) => void): string => {
    const json = z.record(z.string(), z.unknown()).parse(JSON.parse(tokenizerJson));
    change(json);
    return JSON.stringify(json);
  };

  test.each([
    ['is not there', undefined, 'ENOENT'],
    ['is not JSON', '{', 'it is not JSON'],
    [
      'is of another kind',
      changed((json) => (json.model = { type: 'WordPiece', vocab: {} })),
      'it is not a byte-level BPE',
    ],
    [
      'begins texts with a space',
      changed((json) => (json.pre_tokenizer = { type: 'ByteLevel', add_prefix_space: true })),
      'pre_tokenizer.add_prefix_space',
    ],
    [
      'lacks a byte',
      changed((json) => (json.model = { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] })),
      'its vocabulary lacks bytes',
    ],
  ])('%s is refused', async (_, content, message) => {
    const folder = await dataFolder();
    if (content !== undefined) await folder.write('tokenizer.json', content);
    await folder.write('a.txt', 'abcabc');
    const opened = folder.open(text('a.txt', { tokenizer: 'tokenizer.json', blockTokens: 2 }));
    await expect(opened).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringContaining(message) as string,
    });
  });

  test('has more tokens than the model beside it is refused', async () => {
    const folder = await dataFolder();
    await folder.write('tokenizer.json', tokenizerJson);
    await folder.write('config.json', '{"vocab_size": 257}');
    await folder.write('a.txt', 'abc');
    const opened = folder.open(text('a.txt', { tokenizer: '.', blockTokens: 2 }));
    await expect(opened).rejects.toThrow('it has 600 tokens, and the model beside it knows 257');
  });
});
