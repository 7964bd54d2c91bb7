import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Dataset, DataSource } from '../../../src/job/dataset.js';
import { arrays, csv, source, type RowMap } from '../../../worker/data/index.js';
import { dataFolder, float32, plain } from './folder.js';

const context = { baseDir: '/' };
const small = arrays({
  x: [
    [1, 2],
    [3, 4],
    [5, 6],
  ],
  y: [0, 1, 2],
});

async function readAll(data: DataSource) {
  const dataset = await data.open(context);
  return plain(await dataset.read(Array.from({ length: dataset.length }, (_, i) => i)));
}

async function fingerprint(data: DataSource): Promise<string> {
  return (await (await data.open(context)).fingerprint?.()) ?? '';
}

/** A dataset that counts what is done with it. */
function counted(numRows: number) {
  const calls = { reads: 0, closes: 0 };
  const dataset: Dataset = {
    length: numRows,
    read: (indices) => {
      calls.reads++;
      const data = Float32Array.from(indices);
      return { x: { data, shape: [data.length, 1] }, y: { data, shape: [data.length, 1] } };
    },
    close: () => {
      calls.closes++;
    },
  };
  return { dataset, calls };
}

describe('arrays', () => {
  test('takes nested arrays', async () => {
    expect(await readAll(small)).toEqual({ x: float32([1, 2, 3, 4, 5, 6], [3, 2]), y: float32([0, 1, 2], [3, 1]) });
  });

  test('takes typed arrays with their shape', async () => {
    const x = { data: Uint8Array.of(1, 2, 3, 4), shape: [2, 2, 1] };
    const data = arrays({ x, y: { data: Int32Array.of(7, 8), shape: [2] } });
    expect(await readAll(data)).toEqual({
      x: { type: 'Uint8Array', data: [1, 2, 3, 4], shape: [2, 2, 1] },
      y: { type: 'Int32Array', data: [7, 8], shape: [2, 1] },
    });
  });

  test.each([
    [
      'rows of several lengths',
      { x: [[1, 2], [3]], y: [0, 1] },
      'x, row 2: found an array of 1, expected finite numbers of shape [2]',
    ],
    ['NaN', { x: [1, NaN], y: [0, 1] }, 'x, row 2: found NaN'],
    [
      'NaN in a typed array',
      { x: { data: Float32Array.of(1, 2, 3, NaN), shape: [2, 2] }, y: [0, 1] },
      'x, row 2, column 2: found NaN',
    ],
    ['another number of rows', { x: [1, 2], y: [0] }, 'y: found 1 rows, expected as many as the 2 of x'],
    [
      'a shape that does not fit',
      { x: { data: new Float32Array(3), shape: [2, 2] }, y: [0, 1] },
      'x: found 3 numbers, expected the shape [2, 2]',
    ],
    ['no rows', { x: [], y: [] }, 'x: found no rows'],
  ])('refuses %s when opened', async (_, columns, message) => {
    await expect(arrays(columns).open(context)).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringContaining(message) as string,
    });
  });

  test('refuses a row that is not there', async () => {
    const data = await small.open(context);
    expect(() => data.read([3])).toThrow('Row 3 is not one of the 3 rows');
  });

  test('has a fingerprint of its numbers, their type and their shape', async () => {
    const data = Int32Array.of(1, 2);
    const y = [0, 1];
    const variants = [
      arrays({ x: [1, 2], y }),
      arrays({ x: [1, 3], y }),
      arrays({ x: { data, shape: [2] }, y }),
      arrays({ x: { data, shape: [2, 1, 1] }, y }),
    ];
    expect(new Set(await Promise.all(variants.map(fingerprint))).size).toBe(4);
    expect(await fingerprint(arrays({ x: [1, 2], y }))).toBe(await fingerprint(arrays({ x: [1, 2], y })));
  });
});

describe.each([
  ['made when opened', undefined],
  ['made when read', 0],
])('map, with rows %s', (_, memoryLimitBytes) => {
  const options = memoryLimitBytes === undefined ? {} : { memoryLimitBytes };

  test('changes each row, and leaves alone what the function leaves out', async () => {
    const data = small.map(({ x }) => ({ x: x.map((number) => number * 10) }), options);
    expect(await readAll(data)).toEqual({
      x: float32([10, 20, 30, 40, 50, 60], [3, 2]),
      y: float32([0, 1, 2], [3, 1]),
    });
  });

  test('takes numbers, arrays and typed arrays, and flattens where the length changes', async () => {
    const data = small.map(({ x, y }) => ({ x: [...x, ...y], y: (y[0] ?? 0) * 2 }), options);
    expect(await readAll(data)).toEqual({
      x: float32([1, 2, 0, 3, 4, 1, 5, 6, 2], [3, 3]),
      y: float32([0, 2, 4], [3, 1]),
    });
    const bytes = small.map(() => ({ x: Uint8Array.of(9) }), options);
    expect((await readAll(bytes)).x).toEqual({ type: 'Uint8Array', data: [9, 9, 9], shape: [3, 1] });
  });

  test.each<[string, RowMap, string]>([
    ['NaN', ({ x }) => ({ x: x.map((n) => (n === 4 ? NaN : n)) }), "row 2: the map function's x[1]: found NaN"],
    ['another length', ({ x }) => ({ x: x[0] === 3 ? [1] : [1, 2] }), "row 2: the map function's x: found 1 numbers"],
    [
      'another type',
      ({ x }) => ({ y: x[0] === 3 ? Int32Array.of(1) : 1 }),
      "row 2: the map function's y: found 1 numbers in a Int32Array",
    ],
    [
      'an error',
      ({ x }) => {
        if (x[0] === 3) throw new Error('oh no');
        return {};
      },
      'row 2: the map function failed: oh no',
    ],
  ])('refuses %s, naming the row', async (_what, change, message) => {
    await expect(readAll(small.map(change, options))).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringContaining(message) as string,
    });
  });
});

test('map makes more rows than are handled at a time', async () => {
  const { dataset } = counted(3000);
  const { x, y } = await readAll(source(dataset).map(({ x: [row = 0] }) => ({ x: row + 1, y: [row, -row] })));
  expect(x.data).toEqual(Array.from({ length: 3000 }, (_, row) => row + 1));
  expect(y.data.slice(-2)).toEqual([2999, -2999]);
  expect(y.shape).toEqual([3000, 2]);
});

test('map calls its function when the data is opened, and not again', async () => {
  let calls = 0;
  const data = await small
    .map((row) => {
      calls++;
      return row;
    })
    .open(context);
  const callsWhenOpened = calls;
  await data.read([0, 1, 2]);
  expect(callsWhenOpened).toBeGreaterThanOrEqual(3);
  expect(calls).toBe(callsWhenOpened);
});

describe('normalize', () => {
  test('scales', async () => {
    const { x } = await readAll(small.normalize({ scale: 0.5 }));
    expect(x).toEqual(float32([0.5, 1, 1.5, 2, 2.5, 3], [3, 2]));
  });

  test('uses a given mean and deviation, one for all or one for each number', async () => {
    expect((await readAll(small.normalize({ mean: 1, std: 2 }))).x.data).toEqual([0, 0.5, 1, 1.5, 2, 2.5]);
    expect((await readAll(small.normalize({ mean: [1, 2], std: [1, 2] }))).x.data).toEqual([0, 0, 2, 1, 4, 2]);
  });

  test('fits mean and deviation of each number of a row', async () => {
    const { x } = await readAll(small.normalize());
    const one = Math.fround(1 / Math.sqrt(8 / 3) / 0.5); // 1, 3, 5: mean 3, variance 8/3
    expect(x.data).toEqual([-one, -one, 0, 0, one, one]);
  });

  test('fits one mean and deviation for all numbers', async () => {
    const { x } = await readAll(small.normalize({ per: 'all' }));
    const factor = 1 / Math.sqrt(17.5 / 6); // 1 … 6: mean 3.5, squared deviations 17.5
    expect(x.data).toEqual([1, 2, 3, 4, 5, 6].map((number) => Math.fround((number - 3.5) * factor)));
  });

  test('uses the mean and deviation of other rows, as of the training part', async () => {
    const { x } = await readAll(
      small.normalize({
        fit: arrays({
          x: [
            [0, 0],
            [2, 4],
          ],
          y: [0, 0],
        }),
      }),
    );
    expect(x.data).toEqual([0, 0, 2, 1, 4, 2]);
  });

  test('makes a number that never varies 0', async () => {
    const { x } = await readAll(
      arrays({
        x: [
          [7, 1],
          [7, 3],
        ],
        y: [0, 0],
      }).normalize(),
    );
    expect(x.data).toEqual([0, -1, 0, 1]);
  });

  test('keeps its digits with a large mean, over several blocks of rows', async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => 2 ** 23 + (i % 2));
    const { x } = await readAll(arrays({ x: rows, y: rows.map(() => 0) }).normalize());
    expect(x.data.slice(2998)).toEqual([-1, 1]);
  });

  test('refuses a mean of another length, and a deviation of 0', async () => {
    await expect(readAll(small.normalize({ mean: [1, 2, 3], std: 1 }))).rejects.toThrow(
      'found 3 numbers in mean, expected 1, or 2',
    );
    await expect(readAll(small.normalize({ mean: 0, std: 0 }))).rejects.toThrow(
      'row 1, column 1: normalize gave Infinity',
    );
  });
});

describe('reshape', () => {
  test('gives the same numbers another shape', async () => {
    const { x, y } = await readAll(small.reshape({ x: [2, 1, 1] }));
    expect([x.shape, x.data, y.shape]).toEqual([
      [3, 2, 1, 1],
      [1, 2, 3, 4, 5, 6],
      [3, 1],
    ]);
  });

  test('refuses a shape of another size when opened', async () => {
    await expect(small.reshape({ x: [3] }).open(context)).rejects.toThrow(
      'reshape: found 2 numbers per row of x ([2]), expected 3 for the shape [3]',
    );
  });
});

describe('split', () => {
  const numbered = (numRows: number) => source(counted(numRows).dataset);

  test('makes parts that have no row in common and together have all, for any sizes and seed', async () => {
    const sizes = fc.record({
      numRows: fc.integer({ min: 10, max: 500 }),
      validation: fc.double({ min: 0.1, max: 0.4, noNaN: true }),
      test: fc.double({ min: 0.1, max: 0.4, noNaN: true }),
      seed: fc.integer({ min: 0, max: 0xffff_ffff }),
    });
    await fc.assert(
      fc.asyncProperty(sizes, async ({ numRows, ...options }) => {
        const parts = numbered(numRows).split(options);
        const rows = await Promise.all(
          [parts.train, parts.validation, parts.test].map(async (part) => (await readAll(part)).x.data),
        );
        expect(rows.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: numRows }, (_, i) => i));
        expect(rows[1]).toHaveLength(Math.round(numRows * options.validation));
        expect(rows[0]).toEqual(rows[0]?.toSorted((a, b) => a - b));
      }),
    );
  });

  test('is the same each time, and another for another seed', async () => {
    const rows = async (seed: number) =>
      (await readAll(numbered(50).split({ validation: 0.2, seed }).validation)).x.data;
    expect(await rows(1)).toEqual(await rows(1));
    expect(await rows(1)).not.toEqual(await rows(2));
  });

  test.each([[{ validation: 1 }], [{ validation: 0.6, test: 0.6 }], [{ validation: -0.1 }], [{ validation: NaN }]])(
    'refuses %o, which leaves no rows to train with',
    async (options) => {
      await expect(numbered(10).split(options).train.open(context)).rejects.toMatchObject({ code: 'ERR_DATA_INVALID' });
    },
  );

  test('refuses a part without rows', async () => {
    await expect(numbered(10).split({ validation: 0.2 }).test.open(context)).rejects.toThrow('leaves no rows for test');
  });
});

describe('a chain', () => {
  const identity: RowMap = (row) => row;

  test('names rows as the file has them', async () => {
    const folder = await dataFolder();
    const text = `x,y\n${Array.from({ length: 20 }, (_, i) => `${i + 2},0`).join('\n')}`;
    await folder.write('a.csv.gz', gzipSync(text));
    const { train } = csv('a.csv.gz', { label: 'y' }).map(identity).split({ validation: 0.5 });
    const data = await folder.open(train.normalize({ scale: 1 }).reshape({ x: [1, 1] }));
    const lines = (await data.read([0, 5, 9])).x.data; // x is the row's line
    expect([0, 5, 9].map((row) => data.describe?.(row))).toEqual([...lines].map((line) => `a.csv.gz, line ${line}`));
  });

  test('has a fingerprint of everything in it', async () => {
    const variants: DataSource[] = [
      small,
      small.map(identity),
      small.map(({ x }) => ({ x })),
      small.normalize(),
      small.normalize({ per: 'all' }),
      small.normalize({ scale: 2 }),
      small.normalize({ fit: small.map(identity) }),
      small.reshape({ x: [1, 2] }),
      small.split({ validation: 0.5 }).train,
      small.split({ validation: 0.5 }).validation,
      small.split({ validation: 0.5, seed: 1 }).validation,
      source(counted(3).dataset),
      source(counted(4).dataset),
    ];
    const fingerprints = await Promise.all(variants.map(fingerprint));
    expect(new Set(fingerprints).size).toBe(variants.length);
    expect(await fingerprint(small.map(identity))).toBe(fingerprints[1]);
  });

  test('reads what its parts share once, and closes it with the last of them', async () => {
    const { dataset, calls } = counted(10);
    const { train, validation } = source(dataset).map(identity).split({ validation: 0.2 });
    const opened = await Promise.all([train.open(context), validation.open(context)]);
    const readsWhenOpened = calls.reads;
    expect(readsWhenOpened).toBe(2); // the first row, then all
    await opened[0].close?.();
    await opened[0].close?.();
    expect(calls.closes).toBe(0);
    expect(plain(await opened[1].read([0])).x.data).toHaveLength(1);
    await opened[1].close?.();
    expect(calls.closes).toBe(1);
  });

  test('closes what it opened where a later part fails', async () => {
    const { dataset, calls } = counted(10);
    await expect(
      source(dataset)
        .reshape({ x: [7] })
        .open(context),
    ).rejects.toThrow('reshape');
    expect(calls.closes).toBe(1);
  });

  test('can be opened again after it failed', async () => {
    const folder = await dataFolder();
    const data = csv('late.csv', { label: 1 }).map(identity);
    await expect(folder.open(data)).rejects.toThrow('late.csv');
    await folder.write('late.csv', '1,0\n');
    expect((await folder.open(data)).length).toBe(1);
  });
});

test('rows that are no longer needed are filled with the next ones, where they have just the room', async () => {
  const numbers = Float32Array.from({ length: 12 }, (_, i) => i);
  const rows = arrays({ x: { data: numbers, shape: [6, 2] }, y: { data: numbers.subarray(0, 6), shape: [6, 1] } });
  const data = await rows
    .reshape({ x: [1, 2] })
    .split({ validation: 0 })
    .train.open(context);
  const first = await data.read([0, 1]);
  const fresh = plain(await data.read([2, 3]));
  const again = await data.read([2, 3], first);
  expect(plain(again)).toEqual(fresh);
  expect([again.x.data, again.y.data]).toEqual([first.x.data, first.y.data]);
  expect(again.x.data.buffer).toBe(first.x.data.buffer);
  const larger = await data.read([2, 3, 4], again);
  expect(larger.x.data.buffer).not.toBe(again.x.data.buffer);
  expect(plain(again)).toEqual(fresh);
  expect([...numbers]).toEqual(Array.from(numbers, (_, i) => i));
});
