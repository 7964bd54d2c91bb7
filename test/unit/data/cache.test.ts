import { appendFile, mkdir, readdir, readFile, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { csv } from '../../../worker/data/index.js';
import { dataFolder, float32, plain } from './folder.js';

const options = { label: 1 };

describe('the cache of decoded data', () => {
  test('holds what later opens read', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,0\n2,1\n');
    await folder.open(csv('a.csv', options));
    const [name = ''] = await readdir(folder.cacheDir);
    // The first record, 1 and 0, becomes 8 and 0: only a reader of the cache sees it.
    const bytes = await readFile(join(folder.cacheDir, name));
    bytes.set(new Uint8Array(Float32Array.of(8).buffer));
    await writeFile(join(folder.cacheDir, name), bytes);
    const data = await folder.open(csv('a.csv', options));
    expect(plain(await data.read([0])).x).toEqual(float32([8], [1, 1]));
  });

  test('is not used once the file has changed, and forgets what it was', async () => {
    const folder = await dataFolder();
    const path = await folder.write('a.csv', '1,0\n2,1\n');
    await folder.open(csv('a.csv', options));
    await folder.write('a.csv', '3,0\n2,1\n');
    await utimes(path, 1, 1);
    const data = await folder.open(csv('a.csv', options));
    expect(plain(await data.read([0])).x).toEqual(float32([3], [1, 1]));
    expect(await readdir(folder.cacheDir)).toHaveLength(1);
  });

  test('is apart for other options', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,0\n2,1\n');
    await folder.open(csv('a.csv', { label: 1 }));
    const data = await folder.open(csv('a.csv', { label: 0 }));
    expect(plain(await data.read([1])).y).toEqual(float32([2], [1, 1]));
    expect(await readdir(folder.cacheDir)).toHaveLength(2);
  });

  test('may be filled by several workers at once', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,0\n2,1\n');
    const all = await Promise.all([1, 2, 3, 4].map(() => folder.open(csv('a.csv', options))));
    for (const data of all) expect(plain(await data.read([1])).x).toEqual(float32([2], [1, 1]));
    expect(await readdir(folder.cacheDir)).toHaveLength(1);
  });

  test.each([
    ['cut short', (path: string) => truncate(path, 9)],
    ['empty', (path: string) => truncate(path, 0)],
    ['too long', (path: string) => appendFile(path, 'more')],
  ])('is made again where a file in it is %s', async (_, damage) => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,0\n2,1\n');
    await folder.open(csv('a.csv', options));
    const [name = ''] = await readdir(folder.cacheDir);
    await damage(join(folder.cacheDir, name));
    const data = await folder.open(csv('a.csv', options));
    expect(plain(await data.read([1])).x).toEqual(float32([2], [1, 1]));
  });

  test('is done without where it cannot be written', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,0\n2,1\n');
    await mkdir(dirname(folder.cacheDir), { recursive: true });
    await writeFile(folder.cacheDir, 'a file where the folder belongs');
    const data = await folder.open(csv('a.csv', options));
    expect(plain(await data.read([1, 0])).x).toEqual(float32([2, 1], [2, 1]));
    const inPieces = await folder.open(csv('a.csv', { ...options, memoryLimitBytes: 0 }));
    expect(plain(await inPieces.read([1, 0])).x).toEqual(float32([2, 1], [2, 1]));
  });

  test('keeps nothing of a file that is wrong', async () => {
    const folder = await dataFolder();
    await folder.write('a.csv', '1,0\n2,x\n');
    await expect(folder.open(csv('a.csv', options))).rejects.toThrow('line 2');
    expect(await readdir(folder.cacheDir)).toEqual([]);
  });

  test('removes what a killed worker left a day ago, and nothing that another is writing', async () => {
    const folder = await dataFolder();
    const path = await folder.write('a.csv', '1,0\n2,1\n');
    await folder.open(csv('a.csv', options));
    const [name = ''] = await readdir(folder.cacheDir);
    const prefix = name.slice(0, name.indexOf('-') + 1);
    await writeFile(join(folder.cacheDir, `${prefix}old.part`), '');
    await utimes(join(folder.cacheDir, `${prefix}old.part`), 1, 1);
    await writeFile(join(folder.cacheDir, `${prefix}new.part`), '');
    await utimes(path, 1, 1);
    await folder.open(csv('a.csv', options));
    const names = await readdir(folder.cacheDir);
    expect(names).toContain(`${prefix}new.part`);
    expect(names).not.toContain(`${prefix}old.part`);
  });
});
