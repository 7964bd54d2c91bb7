import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { csv } from '../../../worker/data/index.js';
import { dataFolder, float32, plain } from './folder.js';

describe('csv', () => {
  test('reads the named rows in the order named, the label apart', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,2,0\n3,4,1\n5,6,2\n');
    const data = await folder.open(csv('a.csv', { label: 2 }));
    expect(data.length).toBe(3);
    expect(plain(await data.read([2, 0]))).toEqual({ x: float32([5, 6, 1, 2], [2, 2]), y: float32([2, 0], [2, 1]) });
  });

  test('takes columns by the names in the header, in the order named', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', 'age,name,height,label\n30,"Smith, J",1.8,1\n');
    const data = await folder.open(csv('a.csv', { label: 'label', columns: ['height', 'age'] }));
    expect(plain(await data.read([0]))).toEqual({
      x: float32([Math.fround(1.8), 30], [1, 2]),
      y: float32([1], [1, 1]),
    });
  });

  test('predicts several columns', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,2,3\n');
    const data = await folder.open(csv('a.csv', { label: [2, 0] }));
    expect(plain(await data.read([0]))).toEqual({ x: float32([2], [1, 1]), y: float32([3, 1], [1, 2]) });
  });

  test('reads tabs, a byte order mark, CRLF, spaces, exponents and a last line without an end', async () => {
    const folder = await dataFolder();
    await folder.write('a.tsv', '\ufeff1\t 2 \t0\r\n-3e2\t"4"\t1');
    const data = await folder.open(csv('a.tsv', { label: 2, delimiter: '\t' }));
    expect(plain(await data.read([0, 1])).x).toEqual(float32([1, 2, -300, 4], [2, 2]));
  });

  test('names a row by its line, as an editor counts', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', 'x,note,y\r\n1,a,0\r\n\r\n2,"two\r\nlines",0\r\n3,b,1\r\n');
    const data = await folder.open(csv('a.csv', { label: 'y', columns: ['x'] }));
    expect([0, 1, 2].map((row) => data.describe?.(row))).toEqual(['a.csv, line 2', 'a.csv, line 4', 'a.csv, line 6']);
  });

  test('gives the same from gzip, with the same fingerprint', async () => {
    const folder = await dataFolder();
    const text = '1,0\n2,1\n';
    await folder.write('a.csv', text);
    await folder.write('b.csv.gz', gzipSync(text));
    const a = await folder.open(csv('a.csv', { label: 1 }));
    const b = await folder.open(csv('b.csv.gz', { label: 1 }));
    expect(plain(await b.read([1, 0]))).toEqual(plain(await a.read([1, 0])));
    expect(await b.fingerprint?.()).toBe(await a.fingerprint?.());
    expect(b.describe?.(1)).toBe('b.csv.gz, line 2');
  });

  test('has another fingerprint for other content and for other options', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,0\n2,1\n');
    await folder.write('b.csv', '1,0\n2,2\n');
    const sources = [csv('a.csv', { label: 1 }), csv('b.csv', { label: 1 }), csv('a.csv', { label: 0 })];
    const fingerprints = await Promise.all(sources.map(async (source) => (await folder.open(source)).fingerprint?.()));
    expect(new Set(fingerprints).size).toBe(3);
  });

  test('reads row by row what is larger than the memory limit', async () => {
    const folder = await dataFolder();
    const rows = Array.from({ length: 100 }, (_, i) => `${i},${i * 2},${i % 3}`);
    await folder.write('a.csv', rows.join('\n'));
    const inMemory = await folder.open(csv('a.csv', { label: 2 }));
    const inFile = await folder.open(csv('a.csv', { label: 2, memoryLimitBytes: 10 }));
    expect(inFile.read([1])).toBeInstanceOf(Promise);
    expect(plain(await inFile.read([99, 0, 1, 2, 50]))).toEqual(plain(await inMemory.read([99, 0, 1, 2, 50])));
  });

  test.each([
    ['text', '1,2,0\n3,abc,1\n', 'a.csv, line 2, column 2: found "abc", expected a finite number'],
    ['an empty cell', '1,2,0\n\n3,,1\n', 'a.csv, line 3, column 2: found an empty cell, expected a finite number'],
    ['NaN', 'NaN,2,0\n', 'a.csv, line 1, column 1: found "NaN", expected a finite number'],
    ['an infinity', '1,2,0\n1,-Infinity,0\n', 'a.csv, line 2, column 2: found "-Infinity", expected a finite number'],
    ['a number too large for float32', '1,2,1e39\n', 'a.csv, line 1, column 3: found "1e39", expected a finite number'],
    ['a short line', '1,2,0\n3,1\n', 'a.csv, line 2: found 2 columns, expected 3, as in line 1'],
    ['a long line', '1,2,0\n3,4,1,5\n', 'a.csv, line 2: found 4 columns, expected 3, as in line 1'],
    ['an open quote', '1,2,0\n3,"4,1\n', 'a.csv, line 2: the line is not valid CSV'],
    ['too few columns for the label', '1,2\n', 'a.csv, line 1: found 2 columns, expected a column at position 2'],
    ['no rows', '', 'a.csv: found no rows, expected at least one'],
  ])('refuses %s when opened', async (_, text, message) => {
    const folder = await dataFolder();
    await folder.write('a.csv', text);
    await expect(folder.open(csv('a.csv', { label: 2 }))).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringContaining(message) as string,
    });
  });

  test("names the wrong cell's column as the header does", async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', 'age,y\n?,0\n');
    await expect(folder.open(csv('a.csv', { label: 'y' }))).rejects.toMatchObject({
      message: expect.stringContaining('a.csv, line 2, column 1 ("age"): found "?"') as string,
      details: { file: 'a.csv', line: 2, column: 1, columnName: 'age' },
    });
  });

  test('says which columns there are when one is not', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', 'age,y\n1,0\n');
    await expect(folder.open(csv('a.csv', { label: 'class' }))).rejects.toThrow(
      'a.csv, line 1: found the columns "age", "y", expected a column "class"',
    );
  });

  test('says where a missing file was looked for', async () => {
    const folder = await dataFolder();
    await expect(folder.open(csv('no/such.csv', { label: 0 }))).rejects.toMatchObject({
      code: 'ERR_DATA_NOT_FOUND',
      message: expect.stringContaining(`${folder.baseDir}/no/such.csv`) as string,
    });
  });

  test.each([
    ['is cut short', (gzip: Buffer) => gzip.subarray(0, -9), 'the gzip data is cut short'],
    ['is something else', () => Buffer.from('1,2,0\n'), 'the file is not valid gzip data'],
  ])('refuses gzip that %s', async (_, change, message) => {
    const folder = await dataFolder();
    await folder.write('a.csv.gz', change(gzipSync('1,2,0\n'.repeat(100))));
    await expect(folder.open(csv('a.csv.gz', { label: 2 }))).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringContaining(`a.csv.gz: ${message}`) as string,
    });
  });

  test('opens nothing until it is asked to', () => {
    expect(() =>
      csv('/no/such/file.csv', { label: 0 })
        .map((row) => row)
        .split({ validation: 0.5 }),
    ).not.toThrow();
  });

  test('stops when it is aborted', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,2,0\n');
    const opening = csv('a.csv', { label: 2 }).open({ baseDir: folder.baseDir, signal: AbortSignal.abort() });
    await expect(opening).rejects.toThrow('aborted');
  });
});
