/**
 * NumPy's .npy files as data. The header is read here, since packages for it load the whole file:
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import type { Bytes } from './bytes.js';
import { allocate, elements, type ByteOrder, type Element } from './element.js';
import { invalidData } from './file.js';
import { pairedFiles, type PairedFiles } from './paired-files.js';
import type { RowLayout } from './row-store.js';
import type { Source } from './source.js';

/**
 * Rows of two .npy files, as numpy.save writes them; the first axis counts the rows. float32 and float64 become float32;
 * uint8 and bool uint8; other integers up to int64 become int32, which must hold them. Arrays with one axis have the shape
 * [rows, 1].
 */
export function npy(files: PairedFiles): Source {
  return pairedFiles('npy', files, readNpyHeader);
}

const magic = Buffer.from('\x93NUMPY', 'latin1');
const maxHeaderBytes = 1024 * 1024;

const types: Readonly<Record<string, Element>> = {
  f4: elements.float32,
  f8: elements.float64,
  u1: elements.uint8,
  b1: elements.bool,
  i1: elements.int8,
  u2: elements.uint16,
  i2: elements.int16,
  i4: elements.int32,
  i8: elements.int64,
};

async function readNpyHeader(bytes: Bytes, file: string): Promise<RowLayout> {
  const { text, offset } = await readHeaderText(bytes, file);
  const [, order, code] = /'descr':\s*'([<>|=])(\w+)'/.exec(text) ?? [];
  const [, fortran] = /'fortran_order':\s*(True|False)/.exec(text) ?? [];
  const [, sizes] = /'shape':\s*\(([\d,\s]*)\)/.exec(text) ?? [];
  const element = types[code ?? ''];
  if (!element) {
    const found = /'descr':\s*(\[.*\]|'[^']*')/.exec(text)?.[1] ?? 'no type that can be read';
    throw invalidData(
      { file },
      `found numbers of type ${found}, expected one of ${Object.keys(types).join(', ')}. Use array.astype('float32')`,
    );
  }
  if (fortran !== 'False') {
    throw invalidData(
      { file },
      'found columns one after another (fortran_order), expected rows. Save numpy.ascontiguousarray(array)',
    );
  }
  const [numRows, ...rowShape] = (sizes ?? '')
    .split(',')
    .filter((size) => size.trim() !== '')
    .map(Number);
  if (numRows === undefined)
    throw invalidData({ file }, 'found a single number, expected an array whose first axis counts the rows');
  return { offset, shape: [numRows, ...rowShape], element, order: byteOrders[order ?? '='] ?? 'native' };
}

const byteOrders: Readonly<Record<string, ByteOrder>> = { '<': 'LE', '>': 'BE' };

async function readHeaderText(bytes: Bytes, file: string): Promise<{ text: string; offset: number }> {
  const start = allocate(Math.min(12, bytes.size));
  await bytes.readInto(start, 0);
  if (start.length < 12 || !start.subarray(0, magic.length).equals(magic)) {
    throw invalidData({ file }, 'the file is not an .npy file: it does not begin with \\x93NUMPY');
  }
  const isVersion1 = start[6] === 1;
  const headerBytes = isVersion1 ? start.readUInt16LE(8) : start.readUInt32LE(8);
  const textStart = isVersion1 ? 10 : 12;
  if (headerBytes > maxHeaderBytes || textStart + headerBytes > bytes.size) {
    throw invalidData(
      { file },
      `the file is cut short: found ${bytes.size} bytes, expected a header of ${headerBytes}`,
    );
  }
  const text = allocate(headerBytes);
  await bytes.readInto(text, textStart);
  return { text: text.toString('latin1'), offset: textStart + headerBytes };
}
