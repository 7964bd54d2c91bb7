import { readdir } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { idx, npy } from '../../../worker/data/index.js';
import { dataFolder, float32, plain } from './folder.js';

/** An .npy file of version 1.0 as numpy.save lays it out; that it is the same is tested against `numpySaved`. */
function npyFile(descr: string, shape: string, data: ArrayBufferView): Buffer {
  const header = `${`{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117)}\n`;
  const start = Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1');
  return Buffer.concat([start, Buffer.from(header), new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]);
}

/** Made by NumPy 2.4.6: base64 of what numpy.save(file, array) wrote. */
const numpySaved = {
  float32_2x3:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAMA/AAAAwAAAQEAAAIBAAACgQAAAyEA=',
  bigEndianInt32_2x2:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPmk0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDIpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAB/////gAAAAMAARFw',
  int64_2:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPGk4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoDAAAAAAAAAP//////////',
  fortran_2x3:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAABAQAAAgD8AAIBAAAAAQAAAoEA=',
  complex64_1:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPGM4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDEsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACAPw==',
  scalar:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAADwPw==',
  /** numpy.lib.format.write_array(file, array, version=(2, 0)) */
  uint8_2x1_version2:
    'k05VTVBZAgB0AAAAeydkZXNjcic6ICd8dTEnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwgMSksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoHCA==',
};
const saved = (name: keyof typeof numpySaved) => Buffer.from(numpySaved[name], 'base64');

const labels2 = npyFile('|u1', '(2,)', Uint8Array.of(0, 1));
const files = { x: 'x.npy', y: 'y.npy' };

describe('npy', () => {
  test('reads what NumPy saved', async () => {
    const folder = await dataFolder();
    await folder.write('x.npy', saved('float32_2x3'));
    await folder.write('y.npy', saved('int64_2'));
    const data = await folder.open(npy(files));
    expect(plain(await data.read([1, 0]))).toEqual({
      x: float32([4, 5, 6.25, 1.5, -2, 3], [2, 3]),
      y: { type: 'Int32Array', data: [-1, 3], shape: [2, 1] },
    });
    expect(data.describe?.(1)).toBe('x.npy, row 2');
  });

  test("has test files that are NumPy's", () => {
    expect(npyFile('<f4', '(2, 3)', Float32Array.of(1.5, -2, 3, 4, 5, 6.25))).toEqual(saved('float32_2x3'));
  });

  test('reads big-endian numbers and headers of version 2', async () => {
    const folder = await dataFolder();
    await folder.write('x.npy', saved('bigEndianInt32_2x2'));
    await folder.write('y.npy', saved('uint8_2x1_version2'));
    const data = await folder.open(npy(files));
    expect(plain(await data.read([0, 1]))).toEqual({
      x: { type: 'Int32Array', data: [1, -2, 3, 70000], shape: [2, 2] },
      y: { type: 'Uint8Array', data: [7, 8], shape: [2, 1] },
    });
  });

  test.each([
    ['<f8', Float64Array.of(0.1, -2), 'Float32Array', [Math.fround(0.1), -2]],
    ['<i2', Int16Array.of(-1, 2), 'Int32Array', [-1, 2]],
    ['<u2', Uint16Array.of(65535, 2), 'Int32Array', [65535, 2]],
    ['|i1', Int8Array.of(-1, 2), 'Int32Array', [-1, 2]],
    ['|b1', Uint8Array.of(1, 0), 'Uint8Array', [1, 0]],
  ])('reads numbers of type %s', async (descr, numbers, type, values) => {
    const folder = await dataFolder();
    await folder.write('x.npy', npyFile(descr, '(2,)', numbers));
    await folder.write('y.npy', labels2);
    const data = await folder.open(npy(files));
    expect(plain(await data.read([0, 1])).x).toEqual({ type, data: values, shape: [2, 1] });
  });

  test('unpacks gzip once, for all workers', async () => {
    const folder = await dataFolder();
    await folder.write('x.npy.gz', gzipSync(saved('float32_2x3')));
    await folder.write('y.npy', labels2);
    const data = await folder.open(npy({ x: 'x.npy.gz', y: 'y.npy' }));
    expect(plain(await data.read([1])).x).toEqual(float32([4, 5, 6.25], [1, 3]));
    expect(await readdir(folder.cacheDir)).toHaveLength(1);
  });

  test.each([['x.npy'], ['x.npy.gz']])(
    'reads only the wanted rows of %s where it is larger than the limit',
    async (x) => {
      const folder = await dataFolder();
      const numbers = Int32Array.from({ length: 3000 }, (_, i) => i);
      const file = npyFile('<i4', '(1000, 3)', numbers);
      await folder.write(x, x.endsWith('.gz') ? gzipSync(file) : file);
      await folder.write('y.npy', npyFile('<i4', '(1000,)', numbers.subarray(0, 1000)));
      const data = await folder.open(npy({ x, y: 'y.npy', memoryLimitBytes: 4999 }));
      const batch = plain(await data.read([999, 0, 1, 2, 998]));
      expect(batch.x.data).toEqual([2997, 2998, 2999, 0, 1, 2, 3, 4, 5, 6, 7, 8, 2994, 2995, 2996]);
      expect(batch.y.data).toEqual([999, 0, 1, 2, 998]);
    },
  );

  test('fills rows that are no longer needed from the file', async () => {
    const folder = await dataFolder();
    const numbers = Float32Array.from({ length: 3000 }, (_, i) => i);
    await folder.write('x.npy', npyFile('<f4', '(1000, 3)', numbers));
    await folder.write('y.npy', npyFile('<f4', '(1000,)', numbers.subarray(0, 1000)));
    const data = await folder.open(npy({ x: 'x.npy', y: 'y.npy', memoryLimitBytes: 4999 }));
    const first = await data.read([0, 1]);
    const again = await data.read([998, 5], first);
    expect(plain(again).x.data).toEqual([2994, 2995, 2996, 15, 16, 17]);
    expect(again.x.data.buffer).toBe(first.x.data.buffer);
  });

  test.each([[256 * 1024 * 1024], [1]])(
    'has the same fingerprint wherever its files lie, with a limit of %d',
    async (limit) => {
      const [here, there] = [await dataFolder(), await dataFolder()];
      const fingerprints = [];
      for (const [folder, x] of [
        [here, 'x.npy'],
        [there, 'other.npy.gz'],
      ] as const) {
        await folder.write(x, x.endsWith('.gz') ? gzipSync(saved('float32_2x3')) : saved('float32_2x3'));
        await folder.write('y.npy', labels2);
        fingerprints.push(await (await folder.open(npy({ x, y: 'y.npy', memoryLimitBytes: limit }))).fingerprint?.());
      }
      expect(fingerprints[0]).toMatch(/^[0-9a-f]{64}$/);
      expect(fingerprints[1]).toBe(fingerprints[0]);
    },
  );

  const nan = npyFile('<f4', '(2, 2)', Float32Array.of(1, 2, 3, NaN));
  test.each([
    ['NaN', nan, 'x.npy, row 2, column 2: found NaN, expected a finite number'],
    [
      'a float64 too large for float32',
      npyFile('<f8', '(2,)', Float64Array.of(1, 1e39)),
      'row 2, column 1: found 1e+39',
    ],
    [
      'an int64 too large for int32',
      npyFile('<i8', '(2,)', BigInt64Array.of(3n, 2n ** 31n)),
      'row 2, column 1: found 2147483648',
    ],
    [
      'a file cut short',
      saved('float32_2x3').subarray(0, -1),
      'x.npy: the file is cut short: found 151 bytes, expected 152',
    ],
    ['a header cut short', saved('float32_2x3').subarray(0, 50), 'x.npy: the file is cut short: found 50 bytes'],
    ['a file too long', Buffer.concat([saved('float32_2x3'), Buffer.alloc(1)]), 'x.npy: the file is too long'],
    ['complex numbers', saved('complex64_1'), "x.npy: found numbers of type '<c8', expected one of f4, f8"],
    ['columns one after another', saved('fortran_2x3'), 'numpy.ascontiguousarray'],
    ['a single number', saved('scalar'), 'x.npy: found a single number, expected an array'],
    [
      'another number of rows',
      npyFile('|u1', '(3,)', Uint8Array.of(0, 1, 2)),
      'y.npy: found 2 rows, expected as many as the 3',
    ],
    ['no rows', npyFile('<f4', '(0, 3)', new Float32Array(0)), 'x.npy: found no numbers (shape [0, 3])'],
    ['some other file', Buffer.from('x,y\n1,2\n3,4\n5,6\n'), 'x.npy: the file is not an .npy file'],
    ['an empty file', Buffer.alloc(0), 'x.npy: the file is not an .npy file'],
  ])('refuses %s when opened', async (_, x, message) => {
    const folder = await dataFolder();
    await folder.write('x.npy', x);
    await folder.write('y.npy', labels2);
    const error = { code: 'ERR_DATA_INVALID', message: expect.stringContaining(message) as string };
    await expect(folder.open(npy(files))).rejects.toMatchObject(error);
    await expect(folder.open(npy({ ...files, memoryLimitBytes: 1 }))).rejects.toMatchObject(error);
  });
});

test('names a wrong row far into a file that is larger than the limit', async () => {
  const folder = await dataFolder();
  const numbers = new Float32Array(900_000);
  numbers[299_999 * 3 + 1] = Infinity;
  await folder.write('x.npy', npyFile('<f4', '(300000, 3)', numbers));
  await expect(folder.open(npy({ x: 'x.npy', y: 'x.npy', memoryLimitBytes: 1 }))).rejects.toThrow(
    'x.npy, row 300000, column 2: found Infinity',
  );
});

describe('idx', () => {
  /** http://yann.lecun.com/exdb/mnist/: two zero bytes, the type, the number of axes, each axis big-endian, the numbers. */
  function idxFile(type: number, shape: number[], data: Uint8Array): Buffer {
    const header = Buffer.alloc(4 + 4 * shape.length);
    header.set([0, 0, type, shape.length]);
    shape.forEach((size, axis) => header.writeUInt32BE(size, 4 + 4 * axis));
    return Buffer.concat([header, data]);
  }
  const images = idxFile(0x08, [2, 2, 2], Uint8Array.of(0, 1, 2, 3, 252, 253, 254, 255));
  const labels = idxFile(0x08, [2], Uint8Array.of(7, 9));
  const names = { x: 'images', y: 'labels' };

  test('reads images and labels of unsigned bytes', async () => {
    const folder = await dataFolder();
    await folder.write('images', images);
    await folder.write('labels', labels);
    const data = await folder.open(idx(names));
    expect(plain(await data.read([1, 0]))).toEqual({
      x: { type: 'Uint8Array', data: [252, 253, 254, 255, 0, 1, 2, 3], shape: [2, 2, 2] },
      y: { type: 'Uint8Array', data: [9, 7], shape: [2, 1] },
    });
  });

  test('reads big-endian floats and integers, packed with gzip', async () => {
    const folder = await dataFolder();
    await folder.write('images.gz', gzipSync(idxFile(0x0d, [1, 2], Uint8Array.of(0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0))));
    await folder.write('labels', idxFile(0x0b, [1], Uint8Array.of(0xff, 0xfe)));
    const data = await folder.open(idx({ x: 'images.gz', y: 'labels' }));
    expect(plain(await data.read([0]))).toEqual({
      x: float32([1, -2], [1, 2]),
      y: { type: 'Int32Array', data: [-2], shape: [1, 1] },
    });
  });

  test.each([
    ['a file cut short', images.subarray(0, -1), 'images: the file is cut short: found 23 bytes, expected 24'],
    [
      'a header cut short',
      images.subarray(0, 7),
      'images: the file is cut short: found 7 bytes, expected a header of 16',
    ],
    ['some other file', Buffer.from('text'), 'images: the file is not an IDX file: found the first bytes 74657874'],
  ])('refuses %s when opened', async (_, x, message) => {
    const folder = await dataFolder();
    await folder.write('images', x);
    await folder.write('labels', labels);
    await expect(folder.open(idx(names))).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      message: expect.stringContaining(message) as string,
    });
  });
});
