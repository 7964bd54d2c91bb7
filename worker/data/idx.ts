/** IDX files as data: the format of MNIST and its relatives, http://yann.lecun.com/exdb/mnist/ */
import type { Bytes } from './bytes.js';
import { allocate, elements, type Element } from './element.js';
import { invalidData } from './file.js';
import { pairedFiles, type PairedFiles } from './paired-files.js';
import type { RowLayout } from './row-store.js';
import type { Source } from './source.js';

/**
 * Rows of two IDX files, such as MNIST's images and labels; the first axis counts the rows. Unsigned bytes stay uint8,
 * other integers become int32, and floats float32. Arrays with one axis have the shape [rows, 1].
 */
export function idx(files: PairedFiles): Source {
  return pairedFiles('idx', files, readIdxHeader);
}

const types: Readonly<Record<number, Element>> = {
  0x08: elements.uint8,
  0x09: elements.int8,
  0x0b: elements.int16,
  0x0c: elements.int32,
  0x0d: elements.float32,
  0x0e: elements.float64,
};

async function readIdxHeader(bytes: Bytes, file: string): Promise<RowLayout> {
  const start = allocate(Math.min(4, bytes.size));
  await bytes.readInto(start, 0);
  const [zero0, zero1, type = 0, numAxes = 0] = start;
  const element = types[type];
  if (zero0 !== 0 || zero1 !== 0 || !element || numAxes === 0) {
    throw invalidData(
      { file },
      `the file is not an IDX file: found the first bytes ${start.toString('hex')}, expected 0000, a type (08 to 0e) and a number of axes`,
    );
  }
  const offset = 4 + 4 * numAxes;
  if (bytes.size < offset)
    throw invalidData({ file }, `the file is cut short: found ${bytes.size} bytes, expected a header of ${offset}`);
  const sizes = allocate(4 * numAxes);
  await bytes.readInto(sizes, 4);
  const [numRows = 0, ...rowShape] = Array.from({ length: numAxes }, (_, axis) => sizes.readUInt32BE(4 * axis));
  return { offset, shape: [numRows, ...rowShape], element, order: 'BE' };
}
