/**
 * Opens a binary file of equal rows, such as NPY or IDX: a short header, then the numbers. Small ones are loaded; of large
 * ones only the wanted rows are read, after one look through all numbers per host.
 */
import { createHash } from 'node:crypto';
import type { OpenContext } from '../../src/job/dataset.js';
import { FileBytes, type Bytes } from './bytes.js';
import { decodeOnce } from './cache.js';
import { allocate, firstUnusable, toValues, view } from './element.js';
import { findFile, invalidData, type DataFile } from './file.js';
import { blockRowsOf, FileRows, MemoryRows, sizeOf, type RowLayout, type RowStore } from './row-store.js';

/** @throws LockstepError ERR_DATA_INVALID, by way of `invalidData`, where it is not such a file */
export type ReadHeader = (bytes: Bytes, file: string) => Promise<RowLayout>;

export interface BinaryRows {
  readonly store: RowStore;
  /** Of one row; [] where each row is a single number. */
  readonly rowShape: readonly number[];
  /** Of the file's content, unpacked. */
  readonly sha256: string;
}

export interface BinaryOptions {
  readonly readHeader: ReadHeader;
  readonly memoryLimitBytes: number;
}

export async function openBinaryRows(name: string, options: BinaryOptions, context: OpenContext): Promise<BinaryRows> {
  const file = await findFile(name, context);
  const bytes = file.gzip ? await unpack(file, context.signal) : await FileBytes.open(file.path);
  try {
    const layout = await options.readHeader(bytes, name);
    checkSize(name, layout, bytes.size);
    const open = bytes.size > options.memoryLimitBytes ? openInPlace : load;
    const { store, sha256 } = await open({ file, bytes, layout, signal: context.signal });
    return { store, rowShape: layout.shape.slice(1), sha256 };
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

async function unpack(file: DataFile, signal: AbortSignal | undefined): Promise<Bytes> {
  const { bytes } = await decodeOnce({
    file,
    options: { format: 'unpacked' },
    decode: async (content, write) => {
      for await (const chunk of content) await write(chunk);
    },
    signal,
  });
  return bytes;
}

function checkSize(file: string, { offset, shape, element }: RowLayout, size: number): void {
  if (sizeOf(shape) === 0) {
    throw invalidData({ file }, `found no numbers (shape [${shape.join(', ')}]), expected at least one row`);
  }
  const expected = offset + sizeOf(shape) * element.bytes;
  if (size === expected) return;
  const arithmetic = `${expected} bytes (a header of ${offset}, and ${element.name} of shape [${shape.join(', ')}])`;
  const what = size < expected ? 'the file is cut short' : 'the file is too long';
  throw invalidData({ file }, `${what}: found ${size} bytes, expected ${arithmetic}`);
}

interface OpenFile {
  readonly file: DataFile;
  readonly bytes: Bytes;
  readonly layout: RowLayout;
  readonly signal: AbortSignal | undefined;
}

async function load({ file, bytes, layout }: OpenFile): Promise<Pick<BinaryRows, 'store' | 'sha256'>> {
  const { offset, shape, element, order } = layout;
  const header = allocate(offset);
  const data = allocate(bytes.size - offset);
  await bytes.readInto(header, 0);
  await bytes.readInto(data, offset);
  const sha256 = createHash('sha256').update(header).update(data).digest('hex');
  const numbers = view(data, element, order);
  check(file.name, numbers, layout, 0);
  await bytes.close();
  return { store: new MemoryRows(toValues(numbers, element), shape[0]), sha256 };
}

/** The look through all numbers is remembered like decoded data, as a file without any. */
async function openInPlace({ file, bytes, layout, signal }: OpenFile): Promise<Pick<BinaryRows, 'store' | 'sha256'>> {
  const checked = await decodeOnce({
    file,
    options: { format: 'checked', layout: { ...layout, element: layout.element.name } },
    decode: async (content) => {
      let numBytes = 0;
      for await (const chunk of content) numBytes += chunk.length;
      if (numBytes !== bytes.size) throw invalidData({ file: file.name }, 'the file was changed while it was read');
      await checkAll(file.name, bytes, layout);
    },
    signal,
  });
  await checked.bytes.close(); // there are none
  return { store: new FileRows(bytes, layout), sha256: checked.sha256 };
}

async function checkAll(file: string, bytes: Bytes, layout: RowLayout): Promise<void> {
  const { offset, shape, element, order } = layout;
  const rowBytes = (sizeOf(shape) / shape[0]) * element.bytes;
  const blockRows = blockRowsOf(rowBytes);
  for (let row = 0; row < shape[0]; row += blockRows) {
    const block = allocate(Math.min(blockRows, shape[0] - row) * rowBytes);
    await bytes.readInto(block, offset + row * rowBytes);
    check(file, view(block, element, order), layout, row);
  }
}

function check(file: string, numbers: ReturnType<typeof view>, { shape }: RowLayout, firstRow: number): void {
  const unusable = firstUnusable(numbers);
  if (!unusable) return;
  const rowLength = sizeOf(shape) / shape[0];
  const row = firstRow + Math.floor(unusable.position / rowLength) + 1;
  const column = (unusable.position % rowLength) + 1;
  throw invalidData(
    { file, row, column },
    `found ${String(numbers[unusable.position])}, expected ${unusable.expected}`,
  );
}
